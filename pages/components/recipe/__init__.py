"""Choosing a recipe, changing it, and writing it as a command."""
