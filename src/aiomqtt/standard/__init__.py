"""What the standard says, as data: its tables, and names for its constants."""
