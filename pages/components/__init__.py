"""What the pages share: charts, forms, the state in the URL, progress of jobs."""
