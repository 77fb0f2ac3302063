"""A large payload passes over each transport, and takes little more than itself."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "large_payloads.py"


TRANSPORTS = ["tcp", "tls", "ws", "wss", "unix", "memory"]


@pytest.mark.once("compiled")
def test_a_payload_takes_at_most_three_times_its_size():
    done = subprocess.run(
        [sys.executable, PROGRAM, "--size", "20", "--limit", "3"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    rows = [line.split(" | ") for line in done.stdout.splitlines()]
    assert [tuple(row[:2]) for row in rows if row[1:2] and row[0] != "| transport"] == [
        (f"| {transport}", direction)
        for transport in TRANSPORTS
        for direction in ("publish", "receive")
    ]
