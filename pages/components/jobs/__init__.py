"""What is at work, on every page."""
