"""The gradient solver: level after level."""
