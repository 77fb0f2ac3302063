"""Times of the event loop's clock as seconds since the epoch, and back.

The clock of the system may be set while a state is stored. Then what is stored ends
earlier than it would have, but never later.
"""

import asyncio
import time
from collections.abc import Iterable

from aiomqtt.protocol.changes import StoredDelivery


def epoch_offset() -> float:
    """Return what to add to a time of the event loop's clock: see `shift_expiry`."""
    return time.time() - asyncio.get_running_loop().time()


def to_loop_time(deliveries: Iterable[StoredDelivery]) -> None:
    """Convert the times of stored deliveries to those of the event loop."""
    offset = epoch_offset()
    for delivery in deliveries:
        properties = delivery.properties
        if delivery.expires is not None and properties is not None:
            interval = properties.message_expiry_interval or 0
            # With one offset, so that equal times stay equal.
            delivery.expires = loop_time(delivery.expires, interval, offset)


def loop_time(when: float, longest: float, offset: float | None = None) -> float:
    """Convert a time to that of the event loop.

    Args:
        when: The time, in seconds since the epoch.
        longest: How far it can be away, in seconds.
        offset: See `epoch_offset`; None: it is asked.
    """
    now = asyncio.get_running_loop().time()
    if offset is None:
        offset = epoch_offset()
    return min(max(when - offset, now), now + longest)
