"""Dialing: the addresses of a name, one beside the other (RFC 8305)."""

import asyncio
import socket
from contextlib import ExitStack, contextmanager, suppress

import pytest

import aiomqtt.net.dial
from aiomqtt import Client, MqttError
from aiomqtt.net.dial import Address, dial, interleave, race, resolve
from tests.peer import serve
from tests.ports import free_port
from tests.raw_scripts import polite, within

V4, V6 = socket.AF_INET, socket.AF_INET6


@contextmanager
def swallowing(host, port):
    """A port that answers no SYN: its backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def named(monkeypatch, *hosts):
    """Let every name have these addresses of 127.0.0.0/8."""

    async def resolved(hostname, port):
        return [Address(V4, (host, port)) for host in hosts]

    monkeypatch.setattr(aiomqtt.net.dial, "resolve", resolved)


# --- the order -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("families", "order"),
    [
        ("6", "0"),
        ("66644", "03142"),
        ("4466", "0213"),
        ("6444", "0123"),
    ],
)
def test_families_take_turns(families, order):
    addresses = [
        Address(V6 if family == "6" else V4, (str(number),))
        for number, family in enumerate(families)
    ]
    assert [str(address) for address in interleave(addresses)] == list(order)


@pytest.mark.parametrize(("address", "family"), [("127.0.0.1", V4), ("::1", V6)])
async def test_an_address_needs_no_resolver(monkeypatch, address, family):
    async def refuse(*_args, **_options):
        raise AssertionError("resolved")

    loop = asyncio.get_running_loop()
    if isinstance(loop, asyncio.BaseEventLoop):
        monkeypatch.setattr(loop, "getaddrinfo", refuse)
    assert await resolve(address, 1883) == [Address(family, (address, 1883))]


async def test_a_name_is_resolved():
    addresses = await resolve("localhost", 1883)
    assert Address(V4, ("127.0.0.1", 1883)) in addresses
    assert len(addresses) == len(set(addresses))


async def test_a_name_that_there_is_not():
    with pytest.raises(socket.gaierror):
        await within(dial("no-such-host.invalid", 1883))
    with pytest.raises(MqttError, match="the host name can't be resolved"):
        await within(Client("no-such-host.invalid").__aenter__())


@pytest.mark.parametrize("name", ["a" * 64, "a..b"])
async def test_a_name_that_there_can_not_be(name):
    # Each event loop has its own way to find out.
    meanings = "the host name (is malformed: its parts must have|can't be resolved)"
    with pytest.raises(MqttError, match=meanings):
        await within(Client(name).__aenter__())


# --- the race --------------------------------------------------------------------


class Attempts:
    """Attempts that end as a test says: "ok", "fails", "hangs"."""

    def __init__(self, **outcomes):
        self.outcomes = outcomes
        self.begun = []
        self.sockets = []

    @property
    def addresses(self):
        return [Address(V4, (name,)) for name in self.outcomes]

    async def __call__(self, address):
        name = str(address)
        self.begun.append(name)
        if self.outcomes[name] == "hangs":
            await asyncio.Event().wait()
        if self.outcomes[name] == "fails":
            raise ConnectionRefusedError(111, f"{name} refuses")
        if self.outcomes[name] == "breaks":
            raise UnicodeError("no such name")
        sock = socket.socket()
        self.sockets.append(sock)
        return sock


async def test_the_first_that_answers_is_enough():
    attempts = Attempts(a="ok", b="ok")
    with await race(attempts.addresses, attempts, 60):
        assert attempts.begun == ["a"]


async def test_after_a_failure_the_next_one_starts_at_once():
    attempts = Attempts(a="fails", b="fails", c="ok")
    with await within(race(attempts.addresses, attempts, 60)):
        assert attempts.begun == ["a", "b", "c"]


async def test_beside_one_that_hangs_the_next_one_starts_after_the_delay():
    attempts = Attempts(a="hangs", b="hangs", c="ok", d="ok")
    with await within(race(attempts.addresses, attempts, 0.1)):
        assert attempts.begun == ["a", "b", "c"]


async def test_of_two_that_answer_one_is_closed():
    attempts = Attempts(a="ok", b="ok")
    with await within(race(attempts.addresses, attempts, 0)) as winner:
        assert all(sock is winner or sock.fileno() == -1 for sock in attempts.sockets)


async def test_all_fail():
    attempts = Attempts(a="fails", b="fails")
    with pytest.raises(OSError, match="a: .*a refuses; b: .*b refuses") as caught:
        await within(race(attempts.addresses, attempts, 60))
    group = caught.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert all(isinstance(error, OSError) for error in group.exceptions)
    assert len(group.exceptions) == 2


async def test_another_error_ends_all():
    attempts = Attempts(a="hangs", b="breaks", c="ok")
    with pytest.raises(UnicodeError):
        await within(race(attempts.addresses, attempts, 0.1))
    assert attempts.begun == ["a", "b"]


@pytest.mark.parametrize("turns", range(6))
async def test_cancelling_leaves_no_socket(turns):
    attempts = Attempts(a="hangs", b="ok", c="ok")
    before = asyncio.all_tasks()
    task = asyncio.ensure_future(race(attempts.addresses, attempts, 0))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        (await task).close()
    assert all(sock.fileno() == -1 for sock in attempts.sockets)
    assert asyncio.all_tasks() == before


# --- sockets ---------------------------------------------------------------------


async def test_one_address_takes_no_task(monkeypatch):
    def refuse(*_args):
        raise AssertionError("raced")

    monkeypatch.setattr(aiomqtt.net.dial, "race", refuse)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = listener.getsockname()
        with await within(dial(*address)) as sock:
            assert sock.getpeername() == address


async def test_one_address_fails_with_its_own_error():
    with pytest.raises(ConnectionRefusedError) as caught:
        await within(dial("127.0.0.1", free_port()))
    assert caught.value.__cause__ is None


async def test_an_address_that_swallows_the_syn(monkeypatch):
    """It used to spend the whole timeout."""
    async with serve(polite()) as server:
        with swallowing("127.0.0.2", server.port):
            named(monkeypatch, "127.0.0.2", "127.0.0.1")
            async with Client("two.example", server.port, timeout=30) as client:
                await within(client.publish("t", b"", 1))


async def test_only_an_address_that_swallows_the_syn():
    with swallowing("127.0.0.2", 0) as port:
        client = Client("127.0.0.2", port, timeout=0.3)
        with pytest.raises(MqttError, match="^Operation timed out$") as caught:
            await within(client.__aenter__())
        assert f"127.0.0.2:{port} did not answer" in str(caught.value.__cause__)


async def test_the_error_names_each_address(monkeypatch):
    named(monkeypatch, "127.0.0.2", "127.0.0.3")
    port = free_port()
    with pytest.raises(MqttError) as caught:
        await within(Client("two.example", port).__aenter__())
    assert isinstance(caught.value.__cause__, OSError)
    assert f"Could not connect to two.example:{port}" in str(caught.value)
    if "no address" in str(caught.value):  # else both said the very same
        assert "127.0.0.2: " in str(caught.value)
        assert "127.0.0.3: " in str(caught.value)


async def test_the_local_side_holds_for_each_attempt(monkeypatch):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        named(monkeypatch, "127.0.0.2", "127.0.0.1")
        own = free_port()
        with await within(dial("two.example", port, bind_port=own)) as sock:
            assert sock.getpeername()[0] == "127.0.0.1"
            assert sock.getsockname()[1] == own
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_local_address_of_another_family():
    with pytest.raises(OSError, match="bind_address is of another family"):
        await dial("127.0.0.1", 1883, "::1")
