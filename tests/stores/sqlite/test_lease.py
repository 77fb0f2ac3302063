"""The right of one process to use a file."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from aiomqtt.stores.base import SessionStoreError
from aiomqtt.stores.sqlite.lease import Lease, is_held, read_holder

HOLD = """
import sys
from aiomqtt.stores.sqlite.lease import Lease
lease = Lease(sys.argv[1])
lease.take()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "session.db")


@pytest.fixture
def lease(path: str):
    lease = Lease(path)
    yield lease
    lease.release()


@pytest.fixture
def holder(path: str):
    """A process that holds the lease."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def is_named(path: str, pid: int) -> bool:
    found = read_holder(path)
    return found is not None and found.pid == pid


def test_another_process_is_named(path, holder, lease):
    assert is_held(path)
    found = read_holder(path)
    assert found is not None
    assert (found.pid, found.host) == (holder.pid, socket.gethostname())
    text = f"session.db: it is in use by process {holder.pid} .* since 20.* UTC: end"
    with pytest.raises(SessionStoreError, match=text):
        lease.take()


def test_the_lease_of_a_process_that_was_killed_is_taken_over(path, holder, lease):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert is_named(path, holder.pid)
    assert not is_held(path)
    lease.take()
    assert is_held(path)
    assert is_named(path, os.getpid())


def test_two_of_one_process_do_not_share_it(path, lease):
    lease.take()
    with pytest.raises(SessionStoreError, match="another client of this process"):
        Lease(path).take()
    # The one that was refused takes nothing with it.
    assert is_held(path)
    lease.release()
    lease.release()
    assert not is_held(path)
    assert not [*Path(path).parent.iterdir()]
    lease.take()


def test_a_file_system_that_does_not_lock_is_refused(path):
    lease = Lease(path, lambda descriptor: None)
    with pytest.raises(SessionStoreError, match="does not lock files.* a local disk"):
        lease.take()


def test_a_lease_without_a_readable_name_is_held_too(path, lease, holder):
    Path(f"{path}-lease").write_text("{")
    assert read_holder(path) is None
    with pytest.raises(SessionStoreError, match="in use by another process"):
        lease.take()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_that_was_forked_does_not_hold_it(path, lease):
    lease.take()
    (reader, writer), (told, teller) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        # It outlives the lease of its parent.
        os.write(teller, b"x")
        os.read(reader, 1)
        os._exit(0)
    try:
        os.read(told, 1)
        lease.forget()
        assert not is_held(path)
    finally:
        os.write(writer, b"x")
        os.waitpid(child, 0)
        for descriptor in (reader, writer, told, teller):
            os.close(descriptor)
