"""The list of what runs on every Python, on both builds and on both event loops."""

from pathlib import Path

LIST = Path(__file__).parent / "everywhere.txt"


def names() -> frozenset[str]:
    """The files and tests that everywhere.txt lists, as pytest names them."""
    lines = LIST.read_text().splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def is_listed(nodeid: str, listed: frozenset[str]) -> bool:
    """Whether a test, or its file, is in the list."""
    test = nodeid.partition("[")[0]
    return test in listed or test.partition("::")[0] in listed
