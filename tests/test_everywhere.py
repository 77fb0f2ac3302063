"""The list of what runs on every Python and both builds."""

from pathlib import Path

TESTS = Path(__file__).parent
LIST = TESTS / "everywhere.txt"


def names():
    lines = LIST.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_it_names_what_is_there_once():
    for name in names():
        path, _, test = name.partition("::")
        assert (TESTS.parent / path).exists(), name
        assert not test or f"def {test}(" in (TESTS.parent / path).read_text(), name
    assert len({*names()}) == len(names())


def test_it_has_what_a_python_or_a_build_changes():
    """Files whose names say so; of the others it is for who writes them to see."""
    listed = [TESTS.parent / name.partition("::")[0] for name in names()]
    for word in ("cancel", "build", "install", "loops", "packaging", "docstrings"):
        for path in TESTS.rglob(f"test_*{word}*.py"):
            assert any(path.is_relative_to(name) for name in listed), path
