"""Jobs that compare: samples to look at, and how two networks differ."""
