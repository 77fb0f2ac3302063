"""The examples of these pages are whole programs, and do what the page says."""

import pytest

from tests.documentation import blocks, programs
from tests.forked_programs import run

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
def test_the_program_runs(page, number):
    result = run("-c", programs(page)[number])
    errors = result.stderr
    assert (result.returncode, result.stdout) == (0, PRINTS[page][number]), errors
    for line in errors.splitlines():
        assert page in LOGS, line
        assert LOGS[page] in line
