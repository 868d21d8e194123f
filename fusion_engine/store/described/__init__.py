"""What runs are called, what is said of them, which are meant, and which can be compared."""
