"""The list of what runs on every Python and both builds."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from tests.everywhere import LIST, names

TESTS = Path(__file__).parent


def test_it_names_what_is_there_once():
    for name in names():
        path, _, test = name.partition("::")
        assert (TESTS.parent / path).exists(), name
        assert not test or f"def {test}(" in (TESTS.parent / path).read_text(), name
    lines = [
        line for line in LIST.read_text().splitlines() if line[:1] not in ("", "#")
    ]
    assert len(lines) == len(names())


def test_it_has_what_a_python_or_a_build_changes():
    """Files whose names say so; of the others it is for who writes them to see."""
    listed = [TESTS.parent / name.partition("::")[0] for name in names()]
    for word in ("cancel", "build", "install", "loops", "packaging", "docstrings"):
        for path in TESTS.rglob(f"test_*{word}*.py"):
            assert any(path.is_relative_to(name) for name in listed), path


def test_one_loop_and_build_run_the_list_on_both_and_each_other_test_once():
    files = (
        "net/test_unix.py",
        "net/test_unread.py",
        "client/test_client_publish_many.py",
        "benchmarks/test_large_payloads.py",
        "test_documentation.py",
    )
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q"]
    result = subprocess.run(
        [*command, "--loop=uvloop", "--build=pure"]
        + [f"tests/{file}" for file in files],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    loops: dict[str, list[str]] = defaultdict(list)
    for line in result.stdout.splitlines():
        test, _, parameters = line.removeprefix("tests/").partition("[")
        loops[test] += sorted({"asyncio", "uvloop"} & {*parameters[:-1].split("-")})
    unix, unread, publish_many, payloads, documentation = files
    # A file that is listed, and a test that is, in a file that isn't.
    assert loops[f"{unix}::test_no_such_path"] == ["asyncio", "uvloop"]
    assert loops[f"{publish_many}::test_cancelled_what_was_not_sent_is_withdrawn"] == [
        "asyncio",
        "uvloop",
    ]
    # The others, and one that is not asynchronous.
    assert loops[f"{publish_many}::test_every_qos_in_one_call"] == ["uvloop"]
    name = f"{unread}::test_a_broker_that_sends_and_never_reads_loses_the_connection"
    assert loops[name] == ["uvloop"]
    assert loops[f"{unread}::test_other_packets_do_not_count"] == []
    assert f"{unread}::test_other_packets_do_not_count" in loops
    # Marked with the other build, and with this one.
    assert not [test for test in loops if test.startswith(payloads)]
    assert f"{documentation}::test_the_program_runs" in loops
