"""Runs taken out of the program: as one HTML file with live charts, and as a piece of Python that repeats them.

Import no torch. Bundles, which are read back, are in `fusion_engine.jobs.bundle`.
"""
