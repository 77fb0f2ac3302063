"""A client that reconnects: entering, its states, stopping, leaving."""

import asyncio
import contextlib
import gc
import math
from typing import Any

import pytest

from aiomqtt import (
    Broker,
    Client,
    ConnectionState,
    MqttCodeError,
    MqttConnectError,
    MqttError,
    Reconnect,
    StateChange,
)
from aiomqtt.client import supervision_async
from aiomqtt.testing import simulate
from tests.driving import calls_of
from tests.peer import CONNECT, serve
from tests.ports import free_port
from tests.raw_scripts import CEILING, accept, gone, within

QUICKLY = Reconnect(min_delay=0.001, max_delay=0.01)
# Longer than any test.
NEVER = 3600.0
CONNECTING, CONNECTED = ConnectionState.CONNECTING, ConnectionState.CONNECTED
WAITING, STOPPED = ConnectionState.WAITING, ConnectionState.STOPPED
LEFT = ConnectionState.LEFT


@pytest.fixture
async def broker():
    async with Broker() as one:
        yield one


def new_client(broker: Broker, **options: Any) -> Client:
    options.setdefault("reconnect", QUICKLY)
    return Client(broker.name, transport="memory", **options)


async def changed(client: Client, *states: ConnectionState) -> StateChange:
    """Wait until the client has been in these states, one after the other."""
    left = list(states)
    async with asyncio.timeout(CEILING):
        async for change in client.states():
            if change.state == left[0]:
                left.pop(0)
                if not left:
                    return change
    pytest.fail(f"it was never {left[0]}")


# --- staying connected ----------------------------------------------------------------


async def test_one_loop_over_the_messages_outlives_connections(broker, version):
    client = new_client(broker, protocol=version, identifier="me")
    async with client, new_client(broker) as publisher:
        await client.subscribe("t", qos=1)
        for number in range(4):
            await publisher.publish("t", number, qos=1)
            message = await within(anext(client.messages))
            assert message.payload == str(number).encode()
            lost = asyncio.ensure_future(changed(client, CONNECTED, WAITING, CONNECTED))
            await asyncio.sleep(0)
            broker.abort("me")
            await lost
            # The broker has forgotten the session, and the client has subscribed again.
            await within(client.publish("other", qos=1))


async def test_without_reconnect_everything_is_as_before(broker):
    client = new_client(broker, reconnect=False, identifier="me")
    assert client.state == LEFT
    async with client:
        assert client.state == CONNECTED
        broker.abort("me")
        with pytest.raises(MqttError, match="Disconnected during message iteration"):
            await within(anext(client.messages))
        assert client.state == STOPPED
        for call in (client.states, client.retry_now):
            with pytest.raises(ValueError, match="a client that reconnects: pass rec"):
                call()
        with pytest.raises(ValueError, match="connected needs a client that reconn"):
            await client.connected()
    assert client.state == LEFT


async def test_its_states(broker):
    client = new_client(broker, identifier="me")
    assert client.state == LEFT
    changes = client.states()
    async with client:
        assert client.state == CONNECTED
        await client.connected()
        broker.abort("me")
        await changed(client, CONNECTED, WAITING, CONNECTED)
        assert client.is_connected()
    assert client.state == LEFT
    found = [change async for change in changes]
    states = [CONNECTING, CONNECTED, WAITING, CONNECTING, CONNECTED, LEFT]
    assert [change.state for change in found] == states
    assert [change.attempt for change in found] == [1, 1, 0, 1, 1, 0]
    assert [
        change.session_present for change in found if change.state == CONNECTED
    ] == [
        False,
        False,
    ]
    assert "lost" in str(found[2].cause)
    assert found[2].delay is not None
    assert 0 <= found[2].delay <= 0.001
    with pytest.raises(MqttCodeError, match="The client is not entered"):
        await client.connected()


async def test_connected_returns_on_no_connection_that_was_just_lost(broker):
    async with new_client(broker) as client:
        calls_of(client).driver.abort()
        await within(client.connected())
        assert client.is_connected()


async def test_a_subclass_may_have_attributes_of_these_names(broker):
    class Old(Client):
        def __init__(self, *args: Any, **options: Any) -> None:
            self.state = "new"  # type: ignore[assignment, misc]
            self.connected = 7  # type: ignore[assignment, method-assign]
            super().__init__(*args, **options)

    client = Old(broker.name, transport="memory", identifier="me", reconnect=QUICKLY)
    async with client:
        broker.abort("me")
        await within(client.publish("t", qos=1))
    found: tuple[Any, Any] = client.state, client.connected
    assert found == ("new", 7)


async def test_credentials_and_will_are_made_for_each_attempt(broker):
    asked = []

    async def credentials():
        asked.append("credentials")
        return "me", str(len(asked))

    client = new_client(
        broker,
        identifier="me",
        credentials=credentials,
        will=lambda: asked.append("will"),
    )
    async with client:
        broker.abort("me")
        await changed(client, CONNECTED, WAITING, CONNECTED)
    assert asked == ["credentials", "will"] * 2


# --- entering -------------------------------------------------------------------------


async def test_the_first_failure_is_raised_and_the_client_can_be_entered_again(broker):
    client = Client(
        "127.0.0.1",
        port := free_port(),
        reconnect=Reconnect(min_delay=NEVER, max_delay=NEVER),
    )
    for _ in range(2):
        with pytest.raises(MqttError, match="Could not connect to"):
            await within(client.__aenter__())
        assert client.state == LEFT
    await broker.listen("127.0.0.1", port)
    async with client:
        await within(client.publish("t", qos=1))


async def test_with_initial_it_waits_for_the_broker(broker):
    port = free_port()
    reconnect = Reconnect(min_delay=0.001, max_delay=0.01, initial=True)
    client = Client("127.0.0.1", port, reconnect=reconnect)
    entering = asyncio.ensure_future(client.__aenter__())
    change = await changed(client, CONNECTING, WAITING, CONNECTING)
    assert change.attempt == 2
    assert "refused" in str(change.cause)
    connected = asyncio.ensure_future(client.connected())
    await broker.listen("127.0.0.1", port)
    await within(entering)
    await within(connected)
    await client.__aexit__(None, None, None)


async def test_leaving_ends_an_entering_that_waits():
    reconnect = Reconnect(min_delay=NEVER, max_delay=NEVER, initial=True)
    client = Client("127.0.0.1", free_port(), reconnect=reconnect)
    changes = client.states()
    entering = asyncio.ensure_future(client.__aenter__())
    await changed(client, WAITING)
    await within(client.disconnect())
    after = client.states()
    with pytest.raises(MqttError, match="Disconnected"):
        await within(entering)
    assert client.state == LEFT
    found = [change.state async for change in changes]
    assert found == [CONNECTING, WAITING, LEFT]
    # It was left once.
    assert not after._changes


@pytest.mark.parametrize("initial", [False, True])
async def test_entering_can_be_cancelled_at_each_step(broker, initial):
    """And then the client can be entered; nothing is left behind."""
    reconnect = Reconnect(min_delay=0.001, max_delay=0.001, initial=initial)
    port = free_port()
    client = Client(["127.0.0.1"], port, reconnect=reconnect)
    if not initial:
        await broker.listen("127.0.0.1", port)
    for turns in range(1, 30):
        entering = asyncio.ensure_future(client.__aenter__())
        for _ in range(turns):
            await asyncio.sleep(0)
        entering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await within(entering)
            await client.__aexit__(None, None, None)
        assert client.state == LEFT
        assert not client.is_connected()
    if initial:
        await broker.listen("127.0.0.1", port)
    async with client:
        await within(client.publish("t", qos=1))


# --- stopping -------------------------------------------------------------------------


def refusing(*codes: int):
    """Serve a client, and refuse it with these codes when it comes back."""
    rest = [0, *codes]

    async def script(peer):
        await accept(peer, code=rest.pop(0))
        if rest:
            peer.close()
        else:
            await gone(peer)

    return script


async def test_a_refusal_that_will_not_change_reaches_everybody():
    async with serve(refusing(3, 4), again=True) as server:
        client = Client(server.host, server.port, reconnect=QUICKLY)
        async with client:
            iterator = asyncio.ensure_future(anext(client.messages))
            connected = asyncio.ensure_future(
                changed(client, CONNECTED, WAITING, CONNECTING, WAITING, STOPPED)
            )
            with pytest.raises(MqttError, match="Disconnected during") as caught:
                await within(iterator)
            refusal = caught.value.__cause__
            assert isinstance(refusal, MqttConnectError)
            assert refusal.rc == 4
            assert "No further attempt: see aiomqtt.Reconnect." in refusal.__notes__
            assert str((await connected).cause) == str(refusal)
            assert client.state == STOPPED
            with pytest.raises(MqttError) as caught:
                await within(client.connected())
            assert str(caught.value.__cause__) == str(refusal)
            for call in (client.publish("t", qos=1), client.subscribe("t")):
                with pytest.raises(MqttError) as caught:
                    await within(call)
                assert "No further attempt" in str(
                    [*getattr(caught.value, "__notes__", ()), *refusal.__notes__]
                )
        assert client.state == LEFT


async def test_a_call_that_waits_gets_the_reason():
    async with serve(refusing(5), again=True) as server:
        client = Client(server.host, server.port, reconnect=QUICKLY)
        async with client:
            with pytest.raises(MqttConnectError) as caught:
                await within(client.publish("t", qos=2))
            assert caught.value.rc == 5


async def test_it_gives_up_after_so_many_attempts():
    rules = Reconnect(min_delay=0.001, max_delay=0.001, attempts=3)
    broker = Broker()
    await broker.start()
    async with new_client(broker, reconnect=rules) as client:
        states = client.states()
        broker.kill()
        change = await changed(client, STOPPED)
        assert change.cause is not None
        assert change.cause.__notes__[-1] == "No further attempt: 3 in a row failed."
    attempts = [one.attempt async for one in states if one.state == CONNECTING]
    assert attempts == [1, 2, 3]


async def test_an_unexpected_error_ends_the_client(broker, monkeypatch, caplog):
    async with new_client(broker, identifier="me") as client:

        async def fail(*args):
            raise LookupError("a mistake")

        monkeypatch.setattr(supervision_async, "connect_to_first", fail)
        broker.abort("me")
        with pytest.raises(MqttError) as caught:
            await within(client.publish("t", qos=1))
        assert "LookupError" in str(caught.value)
        assert isinstance(caught.value.__cause__, LookupError)
        assert client.state == STOPPED
    assert "The client can't reconnect" in caplog.text


async def test_a_program_that_cancels_all_tasks_ends_the_client(broker):
    async with new_client(broker) as client:
        supervision: Any = client._supervision
        supervision._task.cancel()
        change = await changed(client, STOPPED)
        assert "was cancelled" in str(change.cause)
        with pytest.raises(MqttError, match="Disconnected during"):
            await within(anext(client.messages))


async def test_decide_overrides_the_table(broker):
    asked = []

    def decide(cause):
        asked.append(cause)
        return "stop"

    rules = Reconnect(min_delay=0.001, max_delay=0.001, decide=decide)
    async with new_client(broker, identifier="me", reconnect=rules) as client:
        broker.abort("me")
        assert (await changed(client, STOPPED)).cause is asked[0]


# --- delays and leaving ---------------------------------------------------------------


LONG = Reconnect(min_delay=NEVER, max_delay=NEVER)


async def test_retry_now_ends_a_delay(broker):
    async with new_client(broker, identifier="me", reconnect=LONG) as client:
        client.retry_now()
        broker.abort("me")
        await changed(client, WAITING)
        client.retry_now()
        await changed(client, CONNECTED)
        await within(client.publish("t", qos=1))


@pytest.mark.parametrize("by", ["exit", "disconnect", "exception", "cancellation"])
async def test_leaving_during_a_delay_returns_at_once(broker, by):
    client = new_client(broker, identifier="me", reconnect=LONG, timeout=math.inf)

    async def program():
        async with client:
            broker.abort("me")
            await changed(client, WAITING)
            if by == "disconnect":
                await client.disconnect()
            elif by == "exception":
                raise LookupError
            elif by == "cancellation":
                await asyncio.get_running_loop().create_future()

    task = asyncio.ensure_future(program())
    if by == "cancellation":
        await changed(client, CONNECTED, WAITING)
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait((task,), timeout=CEILING)
    assert task.done()
    if by == "exception":
        assert isinstance(task.exception(), LookupError)
    else:
        assert task.cancelled() is (by == "cancellation")
    assert client.state == LEFT
    # And it can be entered again.
    async with client:
        await within(client.publish("t", qos=1))


async def test_leaving_during_an_attempt_ends_it():
    asked = asyncio.Event()

    async def silent(peer):
        await peer.expect(CONNECT)
        asked.set()
        await gone(peer)

    scripts = [refusing(), silent]

    async def script(peer):
        await scripts.pop(0)(peer)

    async with serve(script, again=True) as server:
        client = Client(server.host, server.port, reconnect=QUICKLY, timeout=math.inf)
        async with client:
            calls_of(client).driver.abort()
            await within(asked.wait())
            assert client.state == CONNECTING
            iterator = asyncio.ensure_future(anext(client.messages))
        with pytest.raises(MqttError, match="Disconnected during"):
            await within(iterator)
        assert client.state == LEFT


async def test_a_program_may_leave_in_a_callable_of_an_attempt(broker):
    """The task that reconnects runs it: it must not wait for itself."""
    calls = 0

    async def credentials():
        nonlocal calls
        calls += 1
        if calls > 1:
            await client.disconnect()
        return None, None

    client = new_client(broker, identifier="me", credentials=credentials)
    async with client:
        broker.abort("me")
        await changed(client, WAITING, LEFT)
    assert calls == 2


async def test_what_was_published_leaves_before_the_client(broker):
    async with new_client(broker, reconnect=False) as listener:
        await listener.subscribe("t", qos=1)
        async with new_client(broker) as client:
            receipts = [client.publish_nowait("t", n, qos=1) for n in range(100)]
        for receipt in receipts:
            await within(receipt)
        for number in range(100):
            assert (await anext(listener.messages)).payload == str(number).encode()


@pytest.mark.filterwarnings("error")
def test_a_closed_loop_leaves_no_task_behind(capfd, monkeypatch):
    """Also if the program does not leave the client, nor cancel its tasks."""
    port = free_port()
    client = Client("127.0.0.1", port, reconnect=LONG)

    async def begin():
        broker = Broker(port=port)
        await broker.start()
        await client.__aenter__()
        broker.kill()
        await changed(client, WAITING)
        return client.states()

    loop = asyncio.new_event_loop()
    changes = loop.run_until_complete(begin())
    loop.close()

    async def again():
        async with Broker(port=port), client:
            await within(client.publish("t", qos=1))
            broker_side = asyncio.ensure_future(client.connected())
            await within(broker_side)

    asyncio.run(again())
    assert client.state == LEFT
    assert [change.state for change in changes._changes] == [WAITING]
    gc.collect()
    assert "Task was destroyed" not in capfd.readouterr().err


# --- several addresses ----------------------------------------------------------------


async def test_it_returns_to_the_first_address_when_that_answers():
    first, port = free_port(), free_port()
    rules = Reconnect(min_delay=0.001, max_delay=0.01, return_to_first=0.05)
    addresses = [("127.0.0.1", first), ("127.0.0.1", port)]
    async with (
        Broker(port=port) as fallback,
        Client(addresses, identifier="me", reconnect=rules) as client,
    ):
        await client.subscribe("t")
        async with Broker(port=first) as broker:
            back = asyncio.ensure_future(changed(client, CONNECTED, CONNECTED))
            change = await within(back)
            assert change.cause is None
            assert "me" in broker.clients
            assert "me" not in fallback.clients
            broker.publish("t", b"here")
            assert (await within(anext(client.messages))).payload == b"here"
        # It goes to the fallback again.
        await changed(client, CONNECTED)
        await within(client.publish("t", qos=1))
        assert "me" in fallback.clients


@pytest.mark.parametrize(
    "arguments",
    [
        {"hostname": "localhost"},
        {"hostname": ["localhost"]},
        {"hostname": ["a", "b"], "address_order": "random"},
        {"hostname": ["a", "b"], "address_order": "round_robin"},
    ],
)
def test_return_to_first_needs_a_first(arguments):
    with pytest.raises(ValueError, match="return_to_first needs a list of at least"):
        Client(**arguments, reconnect=Reconnect(return_to_first=10))


@pytest.mark.parametrize("value", [1, "true", object()])
def test_reconnect_has_to_be_one(value):
    with pytest.raises(TypeError, match="reconnect must be True, False or an aiomqtt"):
        Client("localhost", reconnect=value)


def test_a_url_may_say_it():
    client = Client.from_url("mqtt://localhost?reconnect=true")
    assert client._reconnect == Reconnect()
    assert Client.from_url("mqtt://localhost?reconnect=0")._reconnect is None


# --- redirection ----------------------------------------------------------------------


@pytest.mark.parametrize("follows", [True, False])
async def test_a_broker_that_sends_its_clients_elsewhere(follows):
    """The client goes there at once; without `redirect` it stops with the reason."""
    port, other_port = free_port(), free_port()
    async with Broker(port=port) as broker, Broker(port=other_port) as other:
        client = Client(
            [("127.0.0.1", port), ("127.0.0.1", other_port)],
            protocol=5,
            identifier="me",
            redirect="follow" if follows else "raise",
            reconnect=LONG,
        )
        async with client:
            changes = client.states()
            await client.subscribe("t", qos=1)
            broker.redirect(f"127.0.0.1:{other_port}")
            if follows:
                await within(client.publish("t", b"there", qos=1))
                assert (await within(anext(client.messages))).payload == b"there"
                assert "me" in other.clients
            else:
                change = await changed(client, STOPPED)
                assert change.cause is not None
                assert change.cause.server_reference == f"127.0.0.1:{other_port}"
        delays = [change.delay async for change in changes if change.state == WAITING]
    assert delays == ([0] if follows else [])


# --- simulated time -------------------------------------------------------------------


def outage(hours: float) -> list[float]:
    """Return the delays of a client whose broker is away for so many hours."""
    delays: list[float] = []

    async def watch(client):
        async for change in client.states():
            if change.delay is not None:
                delays.append(change.delay)  # noqa: PERF401 - it is no comprehension

    @simulate(seed=16)
    async def run():
        broker = Broker(None)
        await broker.start()
        client = Client(broker.name, transport="memory", reconnect=True)
        watching = asyncio.ensure_future(watch(client))
        async with client:
            await client.subscribe("t", qos=1)
            await asyncio.sleep(60)
            await broker.stop()
            broker.clear()
            publishing = asyncio.ensure_future(client.publish("t", qos=1, timeout=1e6))
            await asyncio.sleep(hours * 3600)
            await broker.start()
            await publishing
            await anext(client.messages)
        await watching
        await broker.stop()

    run()
    return delays


def test_a_broker_that_is_away_for_a_day():
    delays = outage(24)
    # Bounds of 1, 2, 4, 8, 16, 32 and 60 seconds: about 30 seconds on average.
    bounds = [1, 2, 4, 8, 16, 32]
    assert all(delay <= bound for delay, bound in zip(delays, bounds, strict=False))
    assert max(delays) <= 60
    assert 2500 < len(delays) < 3300
    # The same seed gives the same delays.
    assert outage(1)[:50] == delays[:50]
