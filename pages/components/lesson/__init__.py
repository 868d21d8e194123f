"""The lessons of the page Learn: chapters with a live picture each, drawn and computed in the browser."""
