"""Labels of tensor entries, and how they go through operators."""
