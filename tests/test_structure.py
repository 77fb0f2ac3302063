"""The check of the source's structure, on small trees that break its rules."""

import subprocess
import sys
from pathlib import Path

import pytest

# Of the checkout, whichever build is installed.
pytestmark = pytest.mark.once("pure")

ROOT = Path(__file__).parents[1]
LISTS = """\
most_lines = 10
[most_lines_of]
class = 6
function = 3
[own_limit]
{}
[elsewhere]
{}
"""
CLEAN = {
    "src/aiomqtt/__init__.py": "",
    "src/aiomqtt/a.py": "from aiomqtt import b\n",
    "src/aiomqtt/b.py": "x = 1\n" * 10,
    "tests/test_a.py": "",
    "tests/test_b.py": "",
    "scripts/structure.toml": LISTS.format("", ""),
}
ELSEWHERE = {"scripts/structure.toml": LISTS.format("", '"b.py" = "tests/test_a.py"')}
LONGER = {"scripts/structure.toml": LISTS.format('"b.py" = 12', "")}
SHORTER = {"scripts/structure.toml": LISTS.format('"b.py" = 5', "")}
FOR_TYPES = (
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from aiomqtt import a\n"
)
FINE = "no circle, nothing too long, no module without tests\n"


def check(tree, changes):
    """Write a tree with changes, None to leave a file out; what is said of it."""
    for name, text in (CLEAN | changes).items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            path.write_text(text)
    command = [sys.executable, str(ROOT / "scripts" / "structure.py")]
    ran = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert not ran.stderr
    assert ran.returncode == int(ran.stdout != FINE)
    return ran.stdout.replace("\\", "/")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"src/aiomqtt/b.py": FOR_TYPES},
        LONGER | {"src/aiomqtt/b.py": "x = 1\n" * 12},
        SHORTER | {"src/aiomqtt/b.py": "x = 1\n" * 5},
        ELSEWHERE | {"tests/test_b.py": None},
        {"tests/test_b.py": None, "tests/test_b_more.py": ""},
        {"tests/test_b.py": None, "tests/b/test_more.py": ""},
        {"src/aiomqtt/c/__init__.py": ""},
        {"src/aiomqtt/b.py": "class C:\n" + "    x = 1\n" * 5},
        {"src/aiomqtt/b.py": 'def f():\n    """One.\n\n    Two.\n    """\n    x = 1\n'},
    ],
    ids=[
        "clean",
        "a circle of types",
        "a listed length",
        "a lower limit",
        "tested elsewhere",
        "a test file of a part",
        "a directory of tests",
        "a package",
        "a class",
        "a function with a docstring",
    ],
)
def test_what_keeps_the_rules_passes(tmp_path, changes):
    assert check(tmp_path, changes) == FINE


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"src/aiomqtt/b.py": "def f():\n    from aiomqtt import a\n"},
            "import circle: aiomqtt.",
        ),
        (
            {"src/aiomqtt/b.py": "x = 1\n" * 11},
            "src/aiomqtt/b.py: 11 lines, at most 10: split it",
        ),
        (
            LONGER | {"src/aiomqtt/b.py": "x = 1\n" * 13},
            "src/aiomqtt/b.py: 13 lines, at most 12: split it",
        ),
        (
            {"src/aiomqtt/b.py": "class C:\n" + "    x = 1\n" * 6},
            "src/aiomqtt/b.py: class C: 7 lines, at most 6: split it",
        ),
        (
            {"src/aiomqtt/b.py": "async def f():\n" + "    x = 1\n" * 3},
            "src/aiomqtt/b.py: function f: 4 lines, at most 3: split it",
        ),
        (
            {"src/aiomqtt/b.py": "class C:\n  def f():\n" + "    x = 1\n" * 3},
            "src/aiomqtt/b.py: function f: 4 lines, at most 3: split it",
        ),
        (LONGER, "b.py has 10 lines: remove it from [own_limit]"),
        (SHORTER, "src/aiomqtt/b.py: 10 lines, at most 5: split it"),
        (
            {"tests/test_b.py": None, "tests/test_beta.py": ""},
            "src/aiomqtt/b.py: its test file tests/test_b.py is missing",
        ),
        (
            {"src/aiomqtt/c/d.py": ""},
            "src/aiomqtt/c/d.py: its test file tests/c/test_d.py is missing",
        ),
        (ELSEWHERE, "b.py has a test file: remove it from [elsewhere]"),
        (
            ELSEWHERE
            | {
                "tests/test_b.py": None,
                "tests/test_a.py": None,
                "tests/a/test_x.py": "",
            },
            "b.py: there is no tests/test_a.py",
        ),
        (
            ELSEWHERE
            | {
                "src/aiomqtt/b.py": None,
                "src/aiomqtt/a.py": "",
                "tests/test_b.py": None,
            },
            "b.py is gone: remove it from scripts/structure.toml",
        ),
    ],
)
def test_what_breaks_a_rule_is_named(tmp_path, changes, said):
    output = check(tmp_path, changes)
    assert output.startswith(said)
    assert output.count("\n") == 1


def test_the_numbers_are_those_of_the_page():
    numbers = (ROOT / "scripts" / "structure.toml").read_text()
    assert "most_lines = 600\n" in numbers
    assert "class = 500\nfunction = 60\n" in numbers
    page = " ".join((ROOT / "CONTRIBUTING.md").read_text().split())
    assert "a file has at most 600 lines, a class 500 and a function 60" in page
