"""The programs of the documentation run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def programs(page: str) -> list[str]:
    """The Python examples of a page that are programs."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "asyncio.run(" in block]


CASES = [
    *(("docs/broker.md", number) for number in range(3)),
    *(("docs/testing-faults.md", number) for number in range(2)),
    # The first one needs the internet.
    ("README.md", 1),
]


@pytest.mark.parametrize(("page", "number"), CASES)
def test_the_program_runs(page, number):
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", programs(page)[number]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_no_program_is_left_out():
    assert len(programs("docs/broker.md")) == 3
    assert len(programs("docs/testing-faults.md")) == 2
    assert len(programs("README.md")) == 2
