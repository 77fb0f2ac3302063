"""Times of the event loop's clock in a store, which never end later than before."""

import asyncio
import time

import pytest

from aiomqtt.properties import Properties
from aiomqtt.protocol.changes import StoredDelivery
from aiomqtt.stores.times import epoch_offset, loop_time, to_loop_time


def delivery(expires: float | None, interval: int | None) -> StoredDelivery:
    properties = Properties(message_expiry_interval=interval)
    return StoredDelivery(1, "t", b"", 1, False, properties, expires, (), "", 1, 1, 0)


async def test_a_time_comes_back_as_it_was():
    now = asyncio.get_running_loop().time()
    one, never = delivery(now + 30, 100), delivery(None, None)
    assert one.expires is not None
    one.expires += epoch_offset()
    assert one.expires == pytest.approx(time.time() + 30, abs=5)
    to_loop_time([one, never])
    assert one.expires == pytest.approx(now + 30, abs=5)
    assert never.expires is None


@pytest.mark.parametrize(
    ("from_now", "longest", "left"),
    [(50, 100, 50), (-50, 100, 0), (10_000, 100, 100), (10, 0, 0)],
    ids=["to come", "past", "the clock was set back", "at once"],
)
async def test_a_time_is_never_further_away_than_it_was(from_now, longest, left):
    now = asyncio.get_running_loop().time()
    found = loop_time(time.time() + from_now, longest)
    assert found == pytest.approx(now + left, abs=5)
