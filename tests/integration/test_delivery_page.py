"""The examples of docs/delivery.md run, and do what the page says."""

import asyncio
import sys

import pytest

from tests.documentation import blocks, programs

PAGE = "docs/delivery.md"
DROPPED = (
    "The message was dropped: it waited for a connection for longer than the max_age"
    " of the queue\n"
)
# What each of them prints.
PRINTS = ["", "", DROPPED, ""]


def test_every_example_is_a_program():
    assert len(blocks(PAGE)) == len(programs(PAGE)) == len(PRINTS)


@pytest.mark.once("pure")
@pytest.mark.parametrize("number", range(len(PRINTS)))
async def test_the_program_runs(number):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", programs(PAGE)[number]),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert (process.returncode, output.decode()) == (0, PRINTS[number]), errors
    # All that is logged is that the connection was lost.
    for line in errors.decode().splitlines():
        assert "lost: the broker closed it: connecting again in" in line
