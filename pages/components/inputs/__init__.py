"""Getting and choosing parents, data, base models and earlier runs."""
