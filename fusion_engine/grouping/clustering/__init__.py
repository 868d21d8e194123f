"""Groupings that cluster the neurons of all parents."""
