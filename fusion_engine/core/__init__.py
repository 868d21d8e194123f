"""Names, types and rules every other layer builds on. Imports nothing heavy (no torch)."""
