"""Taking runs away: reports, notebooks and bundles."""
