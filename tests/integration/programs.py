"""Steps that the programs of these tests share."""

import asyncio
import itertools
from typing import Any

import aiomqtt
from tests.brokers import Broker
from tests.own_broker import OwnBroker
from tests.until import until

# For what should be there at once, in seconds.
SOON = 10.0

_numbers = itertools.count(1)


def unique(name: str) -> str:
    """A topic, or an identifier, that no other test uses."""
    return f"{name}-{next(_numbers)}"


def client_of(
    broker: Broker | OwnBroker,
    version: int = 4,
    *,
    persistent: bool = False,
    **arguments: Any,
) -> aiomqtt.Client:
    """A client of the broker; `persistent`: with a session that stays there.

    With a port it connects over TCP.
    """
    hostname = broker.host
    if "port" not in arguments and broker.transport == "memory":
        assert isinstance(broker, OwnBroker)
        hostname = broker.name
        arguments["transport"] = "memory"
    arguments.setdefault("port", broker.port)
    if persistent and version == 5:
        arguments.setdefault("clean_start", False)
        expiry = aiomqtt.Properties(session_expiry_interval=600)
        arguments.setdefault("properties", expiry)
    elif persistent:
        arguments["clean_session"] = False
    return aiomqtt.Client(hostname, protocol=version, **arguments)


async def start(broker: Broker | OwnBroker) -> None:
    """Start a broker, on the ports that it had."""
    if isinstance(broker, OwnBroker):
        await broker.start()
    else:
        broker.start()


async def stop(broker: Broker | OwnBroker) -> None:
    """End a broker as an administrator does."""
    if isinstance(broker, OwnBroker):
        await broker.stop()
    else:
        broker.stop()


async def take(client: aiomqtt.Client, count: int) -> list[aiomqtt.Message]:
    """The next so many messages."""
    taken: list[aiomqtt.Message] = []
    async with asyncio.timeout(SOON):
        while len(taken) < count:
            taken.append(await anext(client.messages))
    return taken


async def payloads(client: aiomqtt.Client, count: int) -> list[bytes]:
    """The payloads of the next so many messages."""
    return [message.payload for message in await take(client, count)]


async def nothing_more(client: aiomqtt.Client) -> None:
    """Check that no message is on its way.

    A message of its own goes the same way, after all that came before it.
    """
    last = unique("last")
    await client.subscribe(last, 1)
    await client.publish(last, b"the last one", 1)
    (message,) = await take(client, 1)
    assert message.payload == b"the last one", message


async def until_logged(broker: Broker | OwnBroker, text: str, count: int = 1) -> None:
    """Wait until the broker has logged a text so many times."""
    await until(
        lambda: broker.log.count(text) >= count,
        SOON,
        lambda: f"the broker did not log {text!r}",
    )
