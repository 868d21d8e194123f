"""The job service: talking to it (connect), being it (serve), and what its workers do (tasks, parts, warm)."""
