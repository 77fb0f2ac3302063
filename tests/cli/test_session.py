"""The command `session`, as a program and with its texts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiomqtt.cli.main import main
from aiomqtt.stores.sqlite.session_store import SQLiteSessionStore
from aiomqtt.testing.session_changes import added
from tests import forked_programs


@pytest.fixture
async def path(tmp_path: Path) -> str:
    """The file of a session with two messages."""
    store = SQLiteSessionStore(tmp_path / "session.db")
    await store.open("me", 10)
    await store.commit([added(1, 7, payload=b"one"), added(2, payload="zwö".encode())])
    await store.close()
    return store.path


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return forked_programs.run("-m", "aiomqtt", "session", *arguments, text=stdin)


async def test_it_says_what_is_in_a_file(path, capsys):
    assert main(["session", "inspect", path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"file                {path}" in lines
    assert "client id           me" in lines
    assert "in use by           nobody" in lines
    assert "waiting bytes       5 bytes" in lines
    assert "has session         no" in lines
    assert "subscriptions       none" in lines
    assert lines[-1] == "The file is intact."
    assert main(["session", "inspect", "--json", path]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["sent"], found["waiting"]) == (1, 1)


async def test_it_names_who_is_using_a_file(path, capsys):
    store = SQLiteSessionStore(path)
    await store.open("me", 10)
    assert main(["session", "inspect", path]) == 0
    assert "in use by           pid " in capsys.readouterr().out
    done = run("clear", "--yes", path)
    assert done.returncode == 1
    assert f"{path}: it is in use by process " in done.stderr
    await store.close()


async def test_it_exports_a_message_per_line(path):
    done = run("export", path)
    assert done.returncode == 0
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["payload"] for one in messages] == ["b25l", "enfDtg=="]


async def test_it_asks_before_it_clears(path):
    done = run("clear", path, stdin="yes\n")
    assert done.returncode == 1
    assert "This deletes 2 messages" in done.stderr
    assert "'me'" in done.stderr
    assert "Nothing was changed" in done.stderr
    assert len(run("export", path).stdout.splitlines()) == 2
    assert run("clear", path, stdin="clear\n").returncode == 0
    assert run("export", path).stdout == ""
    assert run("clear", "--yes", path).returncode == 0


def damage(path: str) -> None:
    Path(path).write_bytes(b"damaged")


def read(path: str) -> bytes | None:
    return Path(path).read_bytes() if Path(path).exists() else None


async def test_it_moves_a_damaged_file_aside(path, capsys):
    damage(path)
    assert main(["session", "inspect", path], program="aiomqtt") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"aiomqtt session inspect: {path}: it is no SQLite")
    assert main(["session", "quarantine", path]) == 0
    moved = capsys.readouterr().out.removeprefix("Moved to ").strip()
    assert (read(moved), read(path)) == (b"damaged", None)


def test_wrong_arguments_are_named(capsys):
    for arguments in (["session"], ["session", "inspect"], ["session", "show", "f"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert "Try 'aiomqtt session" in capsys.readouterr().err


def export_to(path: str, output: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "aiomqtt", "session", "export", path],
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such device")
async def test_output_that_can_not_be_written_is_an_error_without_a_traceback(path):
    full, (reader, writer) = os.open("/dev/full", os.O_WRONLY), os.pipe()
    os.close(reader)
    done = export_to(path, full)
    assert done.returncode == 1
    assert done.stderr.endswith("can't write the output: No space left on device\n")
    assert done.stderr.count("\n") == 1
    # As with `head`, which has enough.
    done = export_to(path, writer)
    assert (done.returncode, done.stderr) == (1, "")
    os.close(full)
    os.close(writer)
