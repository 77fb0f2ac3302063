"""The campaign finds nothing in the real store, and each wrong store."""

import time

import pytest

from tests.campaign import parts
from tests.campaign.controls import CONTROLS, find, find_of_broker
from tests.campaign.world import World

pytestmark = [pytest.mark.once("pure"), pytest.mark.timeout(120)]


@pytest.mark.parametrize("role", parts.ROLES)
async def test_nothing_is_lost_by_kills_at_steps_and_at_random(role):
    world = World("aiomqtt", 5, 1)
    async with world.running():
        # A busy machine needs some seconds before the first one.
        while world.counts["steps"] <= 2:
            await parts.Steps(world, role, "kill").run(time.monotonic() + 2)
        await parts.kill_at_random(world, role, 12, time.monotonic() + 1)
    assert world.problems == []
    assert world.counts["kills"] > world.counts["steps"]
    assert world.counts["messages at QoS 2"] > 0
    assert not any(world.counts[what] for what in ("lost", "identifiers reused"))


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.store)
async def test_a_wrong_store_is_found(control):
    problems = await find(control, seed=1)
    assert [text for text in problems if control.finding in text]


async def test_the_campaign_finds_a_wrong_store_of_the_broker(monkeypatch):
    monkeypatch.setattr(parts, "RESTART_EVERY", 0.3)
    assert await find_of_broker(3) != []
