"""What parents are made of and what their neurons look like, as tables for pages. `shapes` loads nothing heavy."""
