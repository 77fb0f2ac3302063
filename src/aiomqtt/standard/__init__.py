"""The standard as data: its tables, and names for its constants."""
