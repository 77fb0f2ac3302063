"""Processes that can't do everything, whoever runs the tests."""

import os
from typing import Final

# The user without rights, and its group.
NOBODY: Final = 65_534


def drop_rights() -> None:
    """Make this process one of `nobody`, if it is root; others stay who they are."""
    if os.geteuid():
        return
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
