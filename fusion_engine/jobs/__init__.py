"""Work in other processes: `client` hands jobs over and follows them; `python -m fusion_engine.jobs` does them."""
