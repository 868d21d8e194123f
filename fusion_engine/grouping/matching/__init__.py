"""Groupings that match the neurons of parents with each other, one to one or by maps."""
