"""Where sessions are kept, so that they outlive the process."""
