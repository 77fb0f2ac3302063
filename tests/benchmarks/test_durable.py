"""The benchmark of sessions in a file measures both ways to publish."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "durable.py"


@pytest.mark.once("compiled")
def test_each_row_is_measured_at_both_durabilities():
    command = [sys.executable, str(PROGRAM), "--rounds", "1", "--messages", "500"]
    # How fast it is on a machine that runs other tests says nothing.
    done = subprocess.run(
        [*command, "--limit", "0", "--without", "ohmqtt", "paho C"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    cells = [tuple(line.split(" | ")[:2]) for line in lines[1:]]
    assert cells == [
        (f"| {durability}", name)
        for durability in ("normal", "full")
        for name in (
            "publish_many",
            "bare sqlite3 for publish_many",
            "publish",
            "bare sqlite3 for publish",
        )
    ]
