"""What benchmarks/ux.py is made of."""
