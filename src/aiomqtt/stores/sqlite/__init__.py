"""Sessions in SQLite files: what is committed outlives the process."""
