"""The regression mean."""
