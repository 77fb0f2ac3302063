"""The controls: wrong clients, each with one line broken on purpose.

The chaos has to find each of them; otherwise its silence says nothing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
SECONDS: Final = 6
FAULTS: Final = 60
PATIENCE: Final = 10


class Control(NamedTuple):
    """A line of the source, what it is replaced with, and what has to be found."""

    what: str
    file: str
    line: str
    wrong: str
    finding: str


CONTROLS: Final = (
    Control(
        "a repeated message of QoS 2 is delivered again",
        "protocol/inbound.py",
        "        return is_new\n",
        "        return True\n",
        "doubled at QoS 2",
    ),
    Control(
        "of the messages in flight, the first is not sent again",
        "protocol/outbound.py",
        "self._resend.update(dict.fromkeys(self._sent.values()))",
        "self._resend.update(dict.fromkeys([*self._sent.values()][1:]))",
        " lost: ",
    ),
    Control(
        "messages are sent again in the wrong order",
        "protocol/outbound.py",
        "self._resend.update(dict.fromkeys(self._sent.values()))",
        "self._resend.update(dict.fromkeys(reversed(self._sent.values())))",
        "out of order",
    ),
    Control(
        "PUBREL is not sent again",
        "protocol/outbound.py",
        "packet_id) for packet_id in self._released\n",
        "packet_id) for packet_id in ()\n",
        "did not settle",
    ),
)


def check_controls(seed: int) -> int:
    """Run the controls, two at a time; return how many the chaos did not find."""
    missed = 0
    with ThreadPoolExecutor(2) as executor:
        results = executor.map(run_control, CONTROLS, [seed] * len(CONTROLS))
        for control, (output, code) in zip(CONTROLS, results, strict=True):
            wrong = [line for line in output.splitlines() if "WRONG: " in line]
            found = [line for line in wrong if control.finding in line]
            if code == 1 and found:
                print(f"control: {control.what}: found:{found[0]}", flush=True)
            else:
                missed += 1
                print(f"control: {control.what}: NOT FOUND, exit code {code}:")
                print(output, flush=True)
    return missed


def run_control(control: Control, seed: int) -> tuple[str, int]:
    with tempfile.TemporaryDirectory() as directory:
        package = Path(directory) / "aiomqtt"
        shutil.copytree(ROOT / "src" / "aiomqtt", package)
        break_line(package, control)
        command = [sys.executable, "-m", "tests.chaos.chaos", str(SECONDS)]
        options = ["--seed", str(seed), "--patience", str(PATIENCE)]
        options += ["--faults", str(FAULTS)]
        where = ["--broker", "aiomqtt", "--version", "3.1.1", "--source", directory]
        result = subprocess.run(
            [*command, *options, *where],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": directory},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    return result.stdout, result.returncode


def break_line(package: Path, control: Control) -> None:
    """Replace the line, which must be there once."""
    file = package / control.file
    text = file.read_text(encoding="utf-8")
    if text.count(control.line) != 1:
        raise SystemExit(f"{control.file} has no such line any more: {control.line!r}")
    file.write_text(text.replace(control.line, control.wrong), encoding="utf-8")
