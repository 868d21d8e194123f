"""The traced model: levels, spaces, and merging levels by hand."""
