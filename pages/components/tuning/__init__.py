"""A search over a recipe's parameters: what is asked for, and its trials."""
