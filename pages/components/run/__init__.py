"""Following a job and reading what came out: progress, reports, their charts, downloads."""
