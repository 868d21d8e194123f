"""Runs as they are listed: found, chosen, named."""
