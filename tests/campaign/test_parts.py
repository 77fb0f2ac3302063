"""Each kind of fault happens, and does no harm."""

import time

import pytest

from tests.campaign import parts
from tests.campaign.world import World

pytestmark = [pytest.mark.once("pure"), pytest.mark.timeout(120)]


@pytest.fixture
async def world():
    world = World("aiomqtt", 5, 2)
    async with world.running():
        yield world
    assert world.problems == []


async def test_cancelled_programs_go_on(world):
    while not world.counts["cancellations"]:
        steps = parts.Steps(world, "worker", "cancel")
        await steps.run(time.monotonic() + 1.5)


@pytest.mark.parametrize("role", parts.ROLES)
async def test_programs_are_cancelled_while_they_recover(world, role):
    while world.counts["cancellations"] <= 4:
        await parts.cancel_entering(world, role, time.monotonic() + 1.5)
    assert world.counts["kills"] >= world.counts["cancellations"]


async def test_the_disk_is_full(world):
    await parts.fill_the_disk(world, time.monotonic() + 1)
    assert world.counts["full disks"] > 0


async def test_the_clock_is_set(world):
    await parts.set_the_clock(world, 2, time.monotonic() + 1)
    assert world.counts["clocks set"] > 0
    assert world.counts["messages at QoS 2"] > 0


async def test_rights_are_missing_or_taken(world):
    await parts.take_rights(world, 4, time.monotonic() + 5)
    assert world.counts["refused without rights"] == 2
    assert world.counts["rights taken"] == 2


async def test_a_second_process_is_refused(world):
    await parts.start_twice(world, 1, time.monotonic() + 1)
    assert world.counts["second processes refused"] == 1


async def test_the_broker_restarts(world, monkeypatch):
    monkeypatch.setattr(parts, "RESTART_EVERY", 0.2)
    await parts.restart_the_broker(world, 4, time.monotonic() + 30)
    assert world.counts["restarts of the broker"] > 0
    assert world.counts["kills"] == 8


@pytest.mark.parametrize("durability", ["normal", "full"])
async def test_the_power_is_lost(world, durability):
    await parts.lose_power(world, durability, 4, time.monotonic() + 2)
    assert world.counts["losses of power"] >= 4
    assert (durability == "normal") == (world.counts["undone"] > 0)


async def test_the_broker_is_killed(world, monkeypatch):
    monkeypatch.setattr(parts, "RESTART_EVERY", 0.2)
    await parts.kill_the_broker(world, 8, time.monotonic() + 30)
    assert world.counts["kills of the broker"] > 0
    assert world.counts["kills"] == (8 if world.broker.forgets else 16)
    assert world.counts["lost"] == 0
    if not world.broker.forgets:
        assert world.counts["lost by the broker"] == 0
