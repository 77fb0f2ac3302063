"""The program that the README's first command runs."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "examples" / "temperature.py"


@pytest.mark.parametrize("broker_of_its_own", [True, False])
def test_the_first_command_prints_what_arrived(mosquitto, broker_of_its_own):
    address = [] if broker_of_its_own else [mosquitto.host, str(mosquitto.port)]
    result = subprocess.run(
        [sys.executable, "-W", "error", PROGRAM, *address],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    if broker_of_its_own:
        assert lines.pop(0).startswith("a broker listens on mqtt://127.0.0.1:")
    published = [line for line in lines if line.startswith("publishing ")]
    received = [line for line in lines if line.startswith("received ")]
    assert "publishing temperature/outside: 28.4" in published
    assert len(lines) == len(published) + len(received)
    assert received == [line.replace("publishing", "received", 1) for line in published]
