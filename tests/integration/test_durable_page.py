"""The examples of docs/durable-sessions.md run, and do what the page says."""

import asyncio
import sys

import pytest

from tests.documentation import blocks, programs

PAGE = "docs/durable-sessions.md"
# What each of them prints.
PRINTS = [
    "reading 1 acknowledged\n",
    "".join(f"published {number}\n" for number in range(5)),
    *["[('three pizzas',)]\n"] * 2,
]


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
    assert not errors
