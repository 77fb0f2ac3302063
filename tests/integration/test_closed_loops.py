"""One client over real sockets, whose event loop was closed while it was entered."""

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeAlias

import pytest
import uvloop

from aiomqtt import (
    Broker,
    Client,
    MqttCodeError,
    MqttConnectError,
    MqttError,
    TLSParameters,
)
from aiomqtt.testing.threaded import ThreadedBroker
from tests.conftest import LOOPS
from tests.integration.programs import SOON, client_of, nothing_more, payloads, unique
from tests.own_broker import server_context

Run: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]

# What closed the loop left the connection open: Python says so, and is right.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """The sockets of closed loops are closed when they are collected."""
    yield
    gc.collect()


# Those of this run.
NEW_LOOP = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=[NEW_LOOP[name] for name in LOOPS], ids=list(LOOPS))
def new_loop(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def run(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> Run:
    """Do the same as `asyncio.run`, on either kind of loop."""

    def run_in_a_loop_of_its_own(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(asyncio.wait_for(coroutine, 2 * SOON))

    return run_in_a_loop_of_its_own


def in_a_thread(**options: Any) -> Any:
    """The library's own broker, while it is entered."""
    return ThreadedBroker(Broker("127.0.0.1", **options))


class Threaded:
    """The library's own broker, in a thread, behind the interface of mosquitto."""

    host = "127.0.0.1"
    transport = "tcp"

    def __init__(self, broker: Any, tls: Any) -> None:
        self.port = broker.port
        self.pause, self.resume = broker.pause, broker.resume
        self.tls_port = broker.listen(ssl_context=tls).port


@pytest.fixture(params=["mosquitto", "own"])
def broker(request, certificates) -> Iterator[Any]:
    if request.param == "mosquitto":
        yield request.getfixturevalue("mosquitto")
    else:
        with in_a_thread() as threaded:
            yield Threaded(threaded, server_context(certificates.server))


async def works(client: Client) -> None:
    topic = unique("works")
    async with client:
        await client.subscribe(topic, 1)
        await asyncio.gather(*(client.publish(topic, str(i), 1) for i in range(5)))
        assert sorted(await payloads(client, 5)) == [b"0", b"1", b"2", b"3", b"4"]
    assert not client.is_connected()


async def enters(client: Client) -> None:
    await client.__aenter__()
    assert client.is_connected()


async def enters_and_iterates(client: Client) -> None:
    await enters(client)
    await client.subscribe("nothing/comes/here")
    waiting = asyncio.ensure_future(anext(client.messages))
    await asyncio.sleep(0)
    assert not waiting.done()


async def enters_and_publishes(client: Client) -> None:
    """Much more than the connection takes at once."""
    await enters(client)
    for _ in range(100):
        client.publish_nowait("large", b"x" * 100_000, 1)


async def enters_and_asks(client: Client) -> None:
    await enters(client)
    calls = [
        client.publish("a", b"", 1),
        client.publish("a", b"", 2),
        client.subscribe("b"),
        client.subscribe("c"),
    ]
    # Perhaps some are answered by then.
    await asyncio.wait(map(asyncio.ensure_future, calls), timeout=0)


# --- entering again ----------------------------------------------------------------


BEGIN = [enters, enters_and_iterates, enters_and_publishes, enters_and_asks]


# What was left of a loop has nothing to do with the version.
@pytest.mark.parametrize(
    ("version", "begin", "arguments"),
    [
        *(
            (5, begin, arguments)
            for begin in BEGIN
            for arguments in ({}, {"max_concurrent_outgoing_calls": 1})
        ),
        *((version, enters_and_asks, {}) for version in (3, 4)),
    ],
)
def test_it_is_entered_again(broker, version, run, begin, arguments):
    client = client_of(broker, version, **arguments)
    for _ in range(2):
        run(begin(client))
        assert not client.is_connected()
        run(works(client))
    run(works(client))


def test_it_is_entered_again_with_tls(broker, version, run, certificates):
    parameters = TLSParameters(ca_certs=str(certificates.ca_file))
    client = client_of(broker, version, port=broker.tls_port, tls_params=parameters)
    for _ in range(2):
        run(enters(client))
        assert not client.is_connected()
        run(works(client))


def test_a_task_that_was_never_ended(broker, version, new_loop, run, caplog):
    """Its `async with` is left when Python destroys the task."""
    client = client_of(broker, version)

    async def program() -> None:
        async with client:
            await asyncio.sleep(100 * SOON)

    loop = new_loop()
    task = loop.create_task(program())
    while not client.is_connected():
        loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    del task
    gc.collect()
    for record in caplog.records:
        assert "was destroyed" in record.getMessage()
    assert not client.is_connected()
    run(works(client))


def test_what_was_not_acknowledged_is_sent_again(broker, version, run):
    topic, name = unique("again"), unique("me")
    client = client_of(broker, version, persistent=True, identifier=name)
    other = client_of(broker, version, persistent=True, identifier=unique("other"))

    async def subscribes() -> None:
        async with other, client:
            await other.subscribe(topic, 2)

    async def publishes() -> None:
        await client.__aenter__()
        # So that the loop is closed before there is an answer.
        broker.pause()
        for number in range(5):
            client.publish_nowait(topic, str(number), 2)

    async def comes_back() -> None:
        async with client:
            assert client.session_present is (version > 3)
            await client.publish("behind/them", b"", 2)
            assert client.pending_messages() == ()
        async with other:
            expected = [b"0", b"1", b"2", b"3", b"4"]
            assert await payloads(other, 5) == expected
            await nothing_more(other)

    run(subscribes())
    run(publishes())
    assert len(client.pending_messages()) == 5
    broker.resume()
    run(comes_back())


# --- the old connection -------------------------------------------------------------


def test_the_broker_is_told_at_once(run):
    """Without waiting until Python collects what belonged to the loop."""
    with in_a_thread() as broker:
        client = Client("127.0.0.1", broker.port)  # the broker knows it by no name

        async def enters_again() -> None:
            async with client:
                deadline = time.monotonic() + SOON
                while len(broker.clients) != 1:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.01)

        gc.disable()
        try:
            run(enters(client))
            run(enters_again())
        finally:
            gc.enable()


# --- without entering again ---------------------------------------------------------

CALLS: dict[str, Callable[[Client], Any]] = {
    "publish 0": lambda client: client.publish("a"),
    "publish 1": lambda client: client.publish("a", b"", 1),
    "publish_many": lambda client: client.publish_many([("a", b"", 1)]),
    "subscribe": lambda client: client.subscribe("a"),
    "unsubscribe": lambda client: client.unsubscribe("a"),
    "messages": lambda client: anext(client.messages),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_finds_no_connection(broker, run, call):
    client = client_of(broker)

    async def calls() -> None:
        for _ in range(2):
            with pytest.raises(MqttError) as caught:
                await CALLS[call](client)
            assert isinstance(caught.value, MqttCodeError) is (call != "messages")
            assert str(caught.value.__cause__) == "The event loop was closed"
        with pytest.raises(MqttCodeError, match="not currently connected"):
            client.publish_nowait("a")

    run(enters(client))
    run(calls())
    run(works(client))


def test_a_receipt_of_a_loop_that_was_closed(broker, version, run):
    client = client_of(broker, version, persistent=True, identifier=unique("me"))

    async def publishes() -> Any:
        await client.__aenter__()
        broker.pause()
        return client.publish_nowait("a", b"", 1)

    async def waits(receipt: Any) -> None:
        with pytest.raises(MqttCodeError, match="not currently connected") as caught:
            await receipt
        assert caught.value.is_in_session
        async with client:
            await receipt

    receipt = run(publishes())
    broker.resume()
    run(waits(receipt))


LEAVING: dict[str, Callable[[Client], Any]] = {
    "__aexit__": lambda client: client.__aexit__(None, None, None),
    "disconnect": lambda client: client.disconnect(),
}


@pytest.mark.parametrize("leave", LEAVING)
def test_leaving_it_is_harmless(broker, run, leave):
    client = client_of(broker)

    async def leaves() -> None:
        async with asyncio.timeout(SOON / 2):
            await LEAVING[leave](client)
        with pytest.raises(MqttError, match="Disconnected during"):
            await anext(client.messages)

    run(enters(client))
    run(leaves())
    run(works(client))


def test_a_loop_that_was_closed_before_the_connack(run, new_loop):
    async def never(_: Any) -> bool:
        await asyncio.sleep(100 * SOON)
        return True

    with in_a_thread(authenticate=never) as broker:
        client = Client("127.0.0.1", broker.port)
        loop = new_loop()
        task = loop.create_task(client.__aenter__())
        while not broker.statistics.connections:
            loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()
        del task
        gc.collect()
        with pytest.raises(MqttError) as caught:
            client.timeout = 0.1
            run(client.__aenter__())
        assert not isinstance(caught.value, MqttConnectError)
        assert str(caught.value) == "Operation timed out"
