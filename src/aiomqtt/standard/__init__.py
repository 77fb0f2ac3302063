"""What the standard says, as data: its tables."""
