"""The coroutine in which callers await a receipt, which is compiled and can't wait."""

import math

from aiomqtt.exceptions import MqttError
from aiomqtt.protocol.delivery import DONE, Delivery
from aiomqtt.protocol.engine_calls import not_connected
from aiomqtt.standard.names import FIRST_FAILURE

from .calls import Calls
from .calls_async import wait_for_answer
from .receipt import ReceiptWaiters
from .window import refusal


async def wait_until_done(
    delivery: Delivery | None, observer: ReceiptWaiters, calls: Calls | None
) -> None:
    """Wait until a delivery is done.

    Args:
        delivery: The delivery; None at QoS 0, where there is nothing to wait for.
        observer: The callers that wait for it.
        calls: The calls of the client, or None if it is not entered.

    Raises:
        MqttCodeError: The broker refused the message, or there is no connection.
        MqttError: The connection ended, or the message ended otherwise than delivered.
    """
    if delivery is None:
        return
    if delivery.state < DONE:
        await _wait_for_settlement(delivery, observer, calls)
    if delivery.state > DONE or delivery.reason_code >= FIRST_FAILURE:
        raise refusal(delivery)


async def _wait_for_settlement(
    delivery: Delivery, observer: ReceiptWaiters, calls: Calls | None
) -> None:
    if calls is not None:
        calls.check_loop()
    if calls is None or calls.has_ended:
        why = None if calls is None else calls.error
        error = not_connected()
        error.is_in_session = delivery.state < DONE
        raise error from why
    waiter = calls.waiter(math.inf)
    waiters = observer.waiters
    waiters.append(waiter)
    try:
        await wait_for_answer(calls, waiter, "the message was not acknowledged")
    except MqttError as error:
        error.is_in_session = delivery.state < DONE
        raise
    finally:
        if waiter in waiters:
            waiters.remove(waiter)
