"""What a publisher does that has to wait, or has no connection."""

import asyncio
import math

from aiomqtt.exceptions import MqttError
from aiomqtt.protocol.delivery import EXPIRED, Delivery
from aiomqtt.protocol.engine import Engine

from .calls import Calls
from .calls_async import wait_for_room
from .offline import OfflineMode
from .outcomes import to_failure
from .waiters import TIMED_OUT, UNWATCHED, copy_error
from .window import Batch

# So many messages are queued before other tasks run.
PORTION = 100


async def wait_to_send(
    calls: Calls, engine: Engine, prepared: Delivery, mode: OfflineMode, timeout: float
) -> bool:
    """Wait until a message may be sent; False: it waits in the queue, or was dropped.

    Args:
        calls: The calls of the client, which outlast connections.
        engine: The engine.
        prepared: The message, as `Engine.prepare` returned it.
        mode: What to do without a connection.
        timeout: How many seconds to wait.

    Raises:
        MqttCodeError: There is no connection, there is no room in the queue, or the
            program leaves the client.
        MqttError: The call timed out, or the message has expired meanwhile.
    """
    assert calls.offline is not None
    loop = asyncio.get_running_loop()
    prepared.start_expiry(loop.time())
    has_room = False
    if mode == "wait" or not calls.is_waiting_for_connection:
        lifetime = math.inf
        if prepared.expires is not None:
            lifetime = prepared.expires - loop.time()
        limit = min(timeout, lifetime)
        try:
            has_room = await wait_for_room(calls, prepared.size, limit, mode)
        except MqttError as error:
            if limit < timeout and error.args == (TIMED_OUT,):
                raise _expired(engine, prepared) from None
            raise
    if has_room:
        if prepared.expires is not None and loop.time() >= prepared.expires:
            raise _expired(engine, prepared)
        return True
    if mode == "fail":
        raise calls.offline.refuse()
    calls.offline.enqueue(prepared, UNWATCHED)
    await _stored(calls)
    return False


async def leave_in_queue(calls: Calls, delivery: Delivery) -> None:
    """Let a message wait for the next connection: the one that it was sent on is over.

    Args:
        calls: The calls of the client.
        delivery: The message, for which a call has waited until now.

    Raises:
        MqttError: It could not be stored.
    """
    calls.observe(delivery, UNWATCHED)
    await _stored(calls)


async def _stored(calls: Calls) -> None:
    """Return when what was queued is stored, if it has to be."""
    if calls.commits is not None and not await calls.commits.stored():
        raise copy_error(calls.error or MqttError("Disconnected"))


def _expired(engine: Engine, delivery: Delivery) -> MqttError:
    delivery.state = EXPIRED
    engine.session.outbound.count_end(EXPIRED)
    return to_failure(delivery)


async def go_offline(batch: Batch) -> None:
    """Go on with a batch without a connection: queue its messages, or fail.

    Returns when all are in the queue, or there is a connection again.

    Raises:
        MqttCodeError: Calls fail without a connection, or the program leaves.
    """
    offline = batch.calls.offline
    assert offline is not None
    if batch.mode == "fail":
        raise offline.refuse()
    # The queue has those that were sent, too.
    batch.release()
    while not batch.is_done and batch.calls.is_waiting_for_connection:
        batch.enqueue(PORTION, offline)
        await asyncio.sleep(0)
