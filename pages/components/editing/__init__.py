"""Changing a grouping by hand: the list of edits, what they would cost, and fusing again with them."""
