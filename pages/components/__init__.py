"""What the pages share, a room a subject."""
