"""The examples of these pages are whole programs, and do what the page says."""

import asyncio
import sys

import pytest

from tests.documentation import blocks, programs
from tests.integration.programs import SOON

DROPPED = (
    "The message was dropped: it waited for a connection for longer than the max_age"
    " of the queue\n"
)
# What each of the programs prints.
PRINTS = {
    "docs/delivery.md": ["", "", DROPPED, ""],
    "docs/durable-sessions.md": [
        "reading 1 acknowledged\n",
        "".join(f"published {number}\n" for number in range(5)),
        *["[('three pizzas',)]\n"] * 2,
    ],
}
# The only thing that those of a page log.
LOGS = {"docs/delivery.md": "lost: the broker closed it: connecting again in"}


@pytest.mark.parametrize("page", PRINTS)
def test_every_example_is_a_program(page):
    assert len(blocks(page)) == len(programs(page)) == len(PRINTS[page])


@pytest.mark.once("pure")
@pytest.mark.parametrize(
    ("page", "number"),
    [
        (page, number)
        for page, prints in PRINTS.items()
        for number in range(len(prints))
    ],
)
async def test_the_program_runs(page, number):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", programs(page)[number]),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(2 * SOON):
        output, errors = await process.communicate()
    assert (process.returncode, output.decode()) == (0, PRINTS[page][number]), errors
    for line in errors.decode().splitlines():
        assert page in LOGS, line
        assert LOGS[page] in line
