"""The message that a client publishes on each connection first.

Imported for clients that have one. Like all coroutines that wait, these are not
compiled.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any

from aiomqtt.log import SafeLogger
from aiomqtt.net.callables import CallableError
from aiomqtt.protocol.delivery import Delivery
from aiomqtt.protocol.engine import Engine
from aiomqtt.types import Will

from .arguments import to_will
from .renewal import call


class Birth:
    """Gives the engine the birth message for the next connection.

    Args:
        source: The message, or the program's callable, which returns it or None.
        engine: The engine.

    Raises:
        ValueError: The message violates the standard.
        TypeError: It is no `Will`, or a field of it has a wrong type.
    """

    def __init__(self, source: "Will | Callable[[], Any]", engine: Engine) -> None:
        # Valid as long as the client.
        self._source = source
        self._engine = engine
        if not callable(source):
            self._prepare(source)

    async def renew(self, timeout: float, logger: SafeLogger) -> None:
        """Set the message for the next connection; if that fails, there is none.

        Args:
            timeout: How many seconds the program's callable has.
            logger: Receives the reason of a failure.
        """
        self._engine.birth = None
        source = self._source
        try:
            if callable(source):
                async with asyncio.timeout(None if timeout == math.inf else timeout):
                    source = await call("birth", source)
            self._engine.birth = self._prepare(source)
        except TimeoutError:
            self._report(logger, "its callable did not return in time", None)
        except CallableError as error:
            self._report(logger, str(error), error.__cause__)
        except (ValueError, TypeError) as error:
            self._report(logger, str(error), error)

    def _prepare(self, will: Will | None) -> Delivery | None:
        message = to_will(will, "birth")
        if message is None:
            return None
        delivery = self._engine.prepare(
            message.topic,
            message.payload,
            message.qos,
            message.retain,
            message.properties,
        )
        if delivery.alias:
            msg = "the birth's properties must have no topic_alias: it is sent once"
            raise ValueError(msg)
        return delivery

    @staticmethod
    def _report(logger: SafeLogger, said: str, cause: BaseException | None) -> None:
        text = "The client publishes no birth message: %s"
        name = None if cause is None else type(cause).__name__
        logger.event(logging.ERROR, "birth_failed", {"error": name}, text, said)
