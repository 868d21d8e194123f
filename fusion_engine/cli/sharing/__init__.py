"""Commands that take runs out of the store, and bring them in."""
