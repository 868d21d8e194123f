"""Changes of a grouping by hand: what they say, what they make of a grouping, and what that costs. Imports no torch."""

from .edit import EDITS_LIMIT, Edit, edits_from_text, read_edits, resolved

__all__ = ["EDITS_LIMIT", "Edit", "edits_from_text", "read_edits", "resolved"]
