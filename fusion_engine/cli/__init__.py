"""The command line: `python -m fusion_engine`."""
