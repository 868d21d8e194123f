"""Parts of a captured graph run with any weights."""
