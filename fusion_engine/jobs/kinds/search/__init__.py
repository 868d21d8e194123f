"""Searches over a recipe's parameters."""
