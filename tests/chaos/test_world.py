"""Runs of the chaos that have to fail, and what they report then."""

import asyncio
import re

import pytest

import aiomqtt
from tests.chaos.chaos import report, report_problems
from tests.chaos.programs import Consumer, Program
from tests.chaos.world import World

pytestmark = pytest.mark.once("pure")

# A run that does not notice takes far longer.
SOON = 30


async def run(seconds: float) -> World:
    world = World("aiomqtt", 5, 1, seconds, patience=2)
    async with asyncio.timeout(SOON):
        await world.run()
    return world


@pytest.mark.parametrize("method", ["ask", "receive"])
async def test_a_program_that_fails_ends_its_run(method, monkeypatch, capsys):
    async def fail(self: Program) -> None:
        await asyncio.sleep(0.2)
        raise AssertionError("a wrong answer")

    monkeypatch.setattr(Consumer, method, fail)
    world = await run(1000)
    problem = "the run was ended by AssertionError('a wrong answer')"
    assert problem in world.problems
    report(world, 20)
    shown = capsys.readouterr().out
    assert f"  WRONG: {problem}\n" in shown
    assert "in fail" in shown  # the traceback
    # As it was before the failure ended it.
    assert re.search("  under-test-0: Publisher, (?!left)", shown)


async def test_a_client_that_gives_up_ends_its_run(monkeypatch):
    async def fail(self: Program) -> None:
        raise aiomqtt.MqttError("given up")

    monkeypatch.setattr(Consumer, "receive", fail)
    world = await run(1000)
    assert "the run was ended by MqttError('given up')" in world.problems


async def test_the_report_says_why_messages_are_missing(monkeypatch, capsys):
    async def subscribe_to_nothing(self: Consumer) -> None:
        await self.client.subscribe("nothing", 2)

    monkeypatch.setattr(Consumer, "prepare", subscribe_to_nothing)
    world = await run(1)
    assert world.failure is None
    assert [text for text in world.problems if text.startswith("down/1/1/0: ")]
    report_problems(world, 1)
    lines = capsys.readouterr().out.splitlines()
    assert len(world.states) == 5
    # On a busy machine it may still be connecting.
    assert re.match("  under-test-1: Consumer, .*, connected: (True|False)", lines[1])
    assert "subscriptions: ['nothing'" in lines[1]
    assert "last error: " in lines[1]
    assert lines[-2] == f"  WRONG: {world.problems[0]}"
    assert lines[-1] == f"  WRONG: {len(world.problems) - 1} more"
