"""The least-squares solver: layer after layer, from moments."""
