"""Jobs that take a project to another store."""
