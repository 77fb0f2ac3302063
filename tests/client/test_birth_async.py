"""The birth message: published first on each connection of a client."""

import asyncio
from typing import Any

import pytest

from aiomqtt import Broker, Client, ConnectionState, Properties, Reconnect, Will
from tests.raw_scripts import CEILING, within

QUICKLY = Reconnect(min_delay=0.001, max_delay=0.01)


@pytest.fixture
async def broker():
    async with Broker() as one:
        yield one


def new_client(broker: Broker, **options: Any) -> Client:
    options.setdefault("reconnect", QUICKLY)
    return Client(broker.name, transport="memory", identifier="me", **options)


async def watching(broker: Broker) -> Client:
    watcher = Client(broker.name, transport="memory", identifier="watcher")
    await watcher.__aenter__()
    await watcher.subscribe("#", qos=2)
    return watcher


async def taken(watcher: Client, count: int) -> list[str]:
    return [
        (await within(anext(watcher.messages))).payload.decode() for _ in range(count)
    ]


async def lost(client: Client, broker: Broker) -> None:
    """Cut the connection, and wait until the client waits for the next one."""
    changes = client.states()
    broker.abort("me")
    async with asyncio.timeout(CEILING):
        async for change in changes:
            if change.state == ConnectionState.WAITING:
                return


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_it_is_published_on_each_connection_before_all_else(broker, version, qos):
    watcher = await watching(broker)
    birth = Will("state", "born", qos)
    async with new_client(broker, protocol=version, birth=birth) as client:
        await client.publish("t", "1", qos=1)
        for number in ("2", "3"):
            await lost(client, broker)
            await within(client.publish("t", number, qos=1))
    assert await taken(watcher, 6) == ["born", "1", "born", "2", "born", "3"]
    await watcher.__aexit__(None, None, None)


async def test_a_message_to_itself_comes_back(broker):
    """Lost subscriptions are restored before it."""
    async with new_client(broker, birth=Will("state", "born", 1)) as client:
        await client.subscribe("state")
        await lost(client, broker)
        assert await taken(client, 1) == ["born"]


async def test_a_callable_is_called_for_each_attempt(broker):
    count = 0

    async def birth():
        nonlocal count
        count += 1
        await asyncio.sleep(0)
        return Will("state", count) if count != 2 else None

    watcher = await watching(broker)
    async with new_client(broker, birth=birth) as client:
        for number in ("a", "b"):
            await lost(client, broker)
            await within(client.publish("t", number, qos=1))
    # The second connection has none.
    assert await taken(watcher, 4) == ["1", "a", "3", "b"]
    await watcher.__aexit__(None, None, None)


def fail():
    raise LookupError("secret")


async def hang():
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize(
    ("birth", "said", "error"),
    [
        (fail, "the callable for birth raised LookupError", "LookupError"),
        (lambda: "born", "birth must be Will, not str", "TypeError"),
        (lambda: Will("a/#"), "wildcard", "ValueError"),
        (lambda: Will("a", qos=3), "qos must be", "ValueError"),
        (hang, "its callable did not return in time", None),
    ],
)
async def test_its_failure_is_logged_and_the_connection_goes_on(
    broker, caplog, birth, said, error
):
    timeout = 0.01 if birth is hang else 10
    client = new_client(broker, birth=birth, timeout=timeout)
    await within(client.__aenter__())
    client.timeout = 10
    await within(client.publish("t", qos=1))
    await client.__aexit__(None, None, None)
    (record,) = [one for one in caplog.records if one.levelname == "ERROR"]
    assert record.mqtt_event == "birth_failed"
    assert record.mqtt_error == error
    assert record.message.startswith("The client publishes no birth message: ")
    assert said in record.message
    assert "secret" not in record.message


@pytest.mark.parametrize("reconnect", [None, False])
def test_it_needs_a_client_that_reconnects(reconnect):
    with pytest.raises(ValueError, match="birth is for clients that reconnect: pass"):
        Client("localhost", birth=Will("state"), reconnect=reconnect)


@pytest.mark.parametrize(
    ("birth", "error", "match"),
    [
        ("born", TypeError, "birth must be Will, not str"),
        (Will("a/#"), ValueError, "wildcard"),
        (Will("a", qos=3), ValueError, "qos must be"),
        (
            Will("a", properties=Properties(will_delay_interval=1)),
            ValueError,
            "[Ww]ill",
        ),
        (Will("a", properties=Properties(topic_alias=1)), ValueError, "no topic_alias"),
    ],
)
def test_a_wrong_one_is_refused_at_once(birth, error, match):
    with pytest.raises(error, match=match):
        Client("localhost", birth=birth, reconnect=True, protocol=5)
