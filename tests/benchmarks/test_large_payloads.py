"""A large payload passes over each transport, and takes little more than itself."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "large_payloads.py"


@pytest.mark.once("compiled")
@pytest.mark.parametrize("transport", ["tcp", "tls", "ws", "wss", "unix", "memory"])
def test_a_payload_takes_at_most_three_times_its_size(transport):
    command = [sys.executable, PROGRAM, "--size", "20", "--transports", transport]
    done = subprocess.run(
        [*command, "--limit", "3"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    rows = [line for line in done.stdout.splitlines() if transport in line]
    assert len(rows) == 2
