"""The checks of conftest.py that a test leaves nothing behind."""

import asyncio
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LEFTOVERS = {
    "a task": (
        "tasks are still running",
        """
        import asyncio
        kept = []
        async def test_it():
            kept.append(asyncio.create_task(asyncio.sleep(60)))
        """,
    ),
    "a thread": (
        "threads are still running",
        """
        import threading
        def test_it():
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        """,
    ),
    "a socket": (
        "sockets are still open",
        """
        import socket
        kept = []
        def test_it():
            kept.append(socket.socket())
        """,
    ),
    "a socket for the garbage collector": (
        "unclosed <socket",
        """
        import socket
        async def test_it():
            socket.socket()
        """,
    ),
    "a connection": (
        "sockets are still open",
        """
        import asyncio
        async def test_it():
            loop = asyncio.get_running_loop()
            listener = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
            host, port = listener.sockets[0].getsockname()
            await loop.create_connection(asyncio.Protocol, host, port)
            listener.close()
        """,
    ),
    "an error in a callback": (
        "ZeroDivisionError",
        """
        import asyncio
        async def test_it():
            asyncio.get_running_loop().call_soon(lambda: 1 / 0)
            await asyncio.sleep(0)
        """,
    ),
}


def test_a_test_that_leaves_something_fails(tmp_path):
    """Each of them, in one process: what one leaves is not taken for the next one's."""
    names = {what: f"test_{what.replace(' ', '_')}" for what in LEFTOVERS}
    for what, (_, code) in LEFTOVERS.items():
        text = textwrap.dedent(code).replace("test_it", names[what])
        (tmp_path / f"{names[what]}.py").write_text(text)
    result = run_suite(tmp_path, "def test_it(): pass")
    assert result.returncode == 1, result.stdout + result.stderr
    # The name of a test, and what is said of it.
    _, *said = re.split(
        r"^_+ (?:ERROR at \w+ of )?(\S+) _+$", result.stdout, flags=re.MULTILINE
    )
    complaints = dict(zip(said[::2], said[1::2], strict=True))
    expected = {}
    for what, (complaint, code) in LEFTOVERS.items():
        # An asynchronous test runs on each loop.
        for loop in ("[asyncio]", "[uvloop]") if "async" in code else ("",):
            expected[names[what] + loop] = complaint
    assert complaints.keys() == expected.keys(), result.stdout
    for name, complaint in expected.items():
        assert complaint in complaints[name]


@pytest.mark.once("pure")
def test_an_unknown_statement_fails_the_run(tmp_path):
    result = run_suite(
        tmp_path,
        """
        import pytest
        @pytest.mark.conformance("5.0", "MQTT-0.0.0-1")
        def test_it():
            pass
        """,
    )
    assert result.returncode == 4
    assert "test_it: conformance: MQTT 5.0 has no statement" in result.stderr


def run_suite(directory: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run a test module in a process of its own, under this suite's conftest."""
    # What is left stays: there is no need to wait for it as long as usual.
    conftest = "import tests.conftest\nfrom tests.conftest import *\n"
    (directory / "conftest.py").write_text(f"{conftest}tests.conftest.PATIENCE = 0.5\n")
    (directory / "test_it.py").write_text(textwrap.dedent(code))
    config = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *config, "-p", "no:cacheprovider", directory],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "AIOMQTT_TEST_LOOP"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


async def test_each_runs_on_its_loop(anyio_backend):
    loop = asyncio.get_running_loop()
    uses_uvloop = anyio_backend[1]["use_uvloop"]
    assert type(loop).__module__.startswith("uvloop" if uses_uvloop else "asyncio")
    assert loop.get_debug() != uses_uvloop
