"""The results of analyses."""
