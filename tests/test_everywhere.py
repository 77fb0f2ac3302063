"""The list of what runs on every Python and both builds."""

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

# Of the checkout, whichever build is installed.
pytestmark = pytest.mark.once("pure")

TESTS = Path(__file__).parent
LIST = TESTS / "everywhere.txt"


def names() -> list[str]:
    """The files and tests in the list, as pytest names them."""
    lines = LIST.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_it_names_what_is_there_once():
    for name in names():
        path, _, test = name.partition("::")
        assert (TESTS.parent / path).exists(), name
        assert not test or f"def {test}(" in (TESTS.parent / path).read_text(), name
    assert len(names()) == len(set(names()))


def test_it_has_what_a_python_or_a_build_changes():
    """Files whose names say so; of the others it is for who writes them to see."""
    listed = [TESTS.parent / name.partition("::")[0] for name in names()]
    for word in ("cancel", "build", "install", "loops", "packaging", "docstrings"):
        for path in TESTS.rglob(f"test_*{word}*.py"):
            assert any(path.is_relative_to(name) for name in listed), path


def test_one_loop_and_one_build_run_each_test_once():
    files = (
        "net/test_unix.py",
        "net/test_unread.py",
        "benchmarks/test_large_payloads.py",
        "test_documentation.py",
    )
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--build=pure"]
    result = subprocess.run(
        command + [f"tests/{file}" for file in files],
        cwd=TESTS.parent,
        env=os.environ | {"AIOMQTT_TEST_LOOP": "uvloop"},
        capture_output=True,
        text=True,
        check=True,
    )
    loops: dict[str, list[str]] = defaultdict(list)
    for line in result.stdout.splitlines():
        test, _, parameters = line.removeprefix("tests/").partition("[")
        loops[test] += sorted({"asyncio", "uvloop"} & {*parameters[:-1].split("-")})
    unix, unread, payloads, documentation = files
    # Asynchronous tests, of which the first's file is listed, and one that isn't.
    assert loops[f"{unix}::test_no_such_path"] == ["uvloop"]
    name = f"{unread}::test_a_broker_that_sends_and_never_reads_loses_the_connection"
    assert loops[name] == ["uvloop"]
    assert loops[f"{unread}::test_other_packets_do_not_count"] == []
    assert f"{unread}::test_other_packets_do_not_count" in loops
    # Marked with the other build, and with this one.
    assert not [test for test in loops if test.startswith(payloads)]
    assert f"{documentation}::test_the_program_runs" in loops
