"""Commands about what there is: runs that were made, and how networks differ."""
