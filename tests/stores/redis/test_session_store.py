"""The store of one session on a Redis server."""

import asyncio
import itertools
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from aiomqtt.protocol.changes import Change, ChangeKind, SessionState
from aiomqtt.protocol.delivery import DONE
from aiomqtt.stores.base import FIRST_PLACE, SessionStore, SessionStoreError
from aiomqtt.stores.redis.session_store import RedisSessionStore
from aiomqtt.testing import check_store
from aiomqtt.testing.session_changes import Conversation, added

ALL = 1 << 31


async def read(store: RedisSessionStore, window: int = ALL) -> SessionState:
    opened = await store.open("me", window)
    await store.close()
    return opened.state


async def test_it_keeps_the_rules_of_stores(server, open_store):
    numbers = itertools.count()

    def make_place():
        name = f"s{next(numbers)}"
        return lambda: RedisSessionStore(server.url, name=name, lease=0.6)

    await check_store(make_place)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"durability": "always"}, "durability must be"),
        ({"name": ""}, "name must not be empty"),
        ({"wait_replicas": -1}, "wait_replicas must be 0 or more"),
        ({"timeout": 0}, "timeout must be a finite number, 0.01 or more"),
        ({"lease": float("inf")}, "lease must be a finite number, 0.01 or more"),
        ({"keep_receipts": float("nan")}, "keep_receipts must be 0 or more"),
        ({"url": "http://localhost"}, "Redis URL must specify"),
    ],
)
def test_arguments_are_checked(arguments, text):
    with pytest.raises(ValueError, match=text):
        RedisSessionStore(**{"url": "redis://localhost", **arguments})


@pytest.mark.parametrize(
    "arguments", [{"name": 5}, {"wait_replicas": 1.5}, {"lease": "1"}]
)
def test_types_of_arguments_are_checked(arguments):
    (name,) = arguments
    with pytest.raises(TypeError, match=f"{name} must be"):
        RedisSessionStore("redis://localhost", **arguments)


# --- where it is kept -----------------------------------------------------------------


@pytest.mark.parametrize("client_id", ["me", "a}b{c", "}%{", "ä b:c"])
async def test_each_client_identifier_has_a_session(client_id, server, open_store):
    store, other = open_store(), open_store()
    assert isinstance(store, SessionStore)
    await store.open(client_id, ALL)
    opened = await other.open("other", ALL)
    await store.commit([added(1)])
    assert opened.generation == 1
    await store.close()
    opened = await store.open(client_id, ALL)
    assert [*opened.state.deliveries] == [1]
    assert opened.state.client_id == client_id


async def test_all_keys_have_one_hash_tag(server, open_store):
    store = open_store()
    await store.open("a}b{c", ALL)
    await store.commit([added(1)])
    keys = re.findall(rb"aiomqtt:\S+", server.send("KEYS", "*"))
    assert len(keys) == 5
    for key in keys:
        assert key.startswith(b"aiomqtt:{a%7Db%7Bc}:")


async def test_a_session_needs_a_name(server, open_store):
    with pytest.raises(SessionStoreError, match="give the client an identifier"):
        await open_store().open("", ALL)
    opened = await open_store(name="n").open("", ALL)
    assert opened.state.client_id == ""


# --- what is stored -------------------------------------------------------------------


async def test_a_group_is_one_command(server, open_store):
    store = open_store()
    await store.open("me", ALL)
    await store.commit([added(1)])  # The server gets the script.
    before = calls(server)
    await store.commit([*map(added, range(2, 100)), Change(ChangeKind.ENDED, 1)])
    after = calls(server)
    assert after["evalsha"] == before["evalsha"] + 1
    assert after["eval"] - before["eval"] <= 1  # The lease may have been renewed.


def calls(server) -> dict[str, int]:
    text = server.send("INFO", "commandstats").decode()
    found = re.findall(r"cmdstat_(\w+):calls=(\d+)", text)
    return {name: int(count) for name, count in found}


async def test_a_group_may_be_large(server, open_store):
    store = open_store(timeout=30.0)
    await store.open("me", ALL)
    await store.commit([*map(added, range(1, 20_001))])
    await store.close()
    opened = await store.open("me", 2500)
    assert [*opened.state.deliveries] == [*range(1, 2501)]
    assert opened.remaining == 17_500
    loaded = await store.load_queued(opened.place, 1500)
    assert [one.sequence for _, one in loaded] == [*range(2501, 4001)]


async def test_large_messages_are_read_one_by_one(server, open_store):
    store = open_store()
    await store.open("me", ALL)
    payload = bytes(3_000_000)
    await store.commit([added(number, payload=payload) for number in (1, 2, 3)])
    loaded = await store.load_queued(FIRST_PLACE, 10)
    assert [(one.sequence, one.payload) for _, one in loaded] == [
        (number, payload) for number in (1, 2, 3)
    ]


async def test_those_put_before_others_may_end(server, open_store):
    store = open_store()
    await store.open("me", ALL)
    await store.commit([added(number) for number in range(1, 6)])
    for number in (6, 7):
        value = added(number).value
        await store.commit([Change(ChangeKind.ADDED_FIRST, number, value)])
    await store.commit([Change(ChangeKind.ENDED, 7)])
    loaded = await store.load_queued(FIRST_PLACE, 100)
    assert [one.sequence for _, one in loaded] == [6, 1, 2, 3, 4, 5]


async def test_receipts_are_kept_for_a_time(server, open_store):
    now = 1000.0
    store = open_store(clock=lambda: now, keep_receipts=60)
    await store.open("me", ALL)
    await store.commit(
        [
            added(1, 0, "waits"),
            added(2, 0, "ended"),
            Change(ChangeKind.ENDED, 2, (DONE, 0)),
        ]
    )
    assert {one.id for one in await store.list_receipts()} == {"waits", "ended"}
    assert len(await store.list_receipts()) == 2
    now += 61
    assert [one.id for one in await store.list_receipts()] == ["waits"]
    assert await store.find_receipt("ended") is None
    await store.commit([Change(ChangeKind.COUNTED, 1)])
    now -= 61
    # It is not only hidden.
    assert await store.find_receipt("ended") is None


async def test_a_receipt_of_an_older_message_does_not_end_the_newer(server, open_store):
    store = open_store()
    await store.open("me", ALL)
    await store.commit([added(1, 0, "x"), added(2, 0, "x")])
    await store.commit([Change(ChangeKind.ENDED, 1, (DONE, 0))])
    receipt = await store.find_receipt("x")
    assert receipt is not None
    assert receipt.state == "queued"


# --- when the server or the connection breaks -----------------------------------------


async def test_what_is_stored_survives_the_server(server, open_store):
    store = open_store(durability="full")
    conversation = Conversation(1)
    await store.open("me", ALL)
    for _ in range(10):
        await store.commit(conversation.go_on(20))
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
    # It went on, over new connections, and the server has forgotten the script.
    await store.close()
    assert await read(store) == conversation.state


async def test_a_commit_during_which_the_server_is_killed(server, open_store):
    store = open_store(durability="full")
    await store.open("me", ALL)
    sequence = 0
    for delay in (0.0, 0.002, 0.01, 0.03, 0.05):
        timer = threading.Timer(delay, server.kill)
        timer.start()
        stored = sequence
        with pytest.raises(SessionStoreError, match="enter the client again"):
            while True:
                group = [added(sequence + one) for one in range(1, 51)]
                sequence += 50
                await store.commit(group)
                stored = sequence
        with pytest.raises(SessionStoreError, match="could not be stored"):
            await store.commit([added(sequence + 1)])
        timer.join()
        await store.close()
        await asyncio.to_thread(server.start)
        opened = await store.open("me", ALL)
        # All that was reported as stored, and of the last group all or nothing.
        found = [*opened.state.deliveries]
        assert found in ([*range(1, stored + 1)], [*range(1, sequence + 1)])
        sequence = len(found)


async def test_a_server_that_does_not_answer(server, open_store):
    store = open_store(timeout=0.3)
    await store.open("me", ALL)
    await store.commit([added(1)])
    server.pause()
    with pytest.raises(SessionStoreError, match="did not answer in time"):
        await store.commit([added(2), added(3)])
    begin = time.monotonic()
    await store.close()
    assert time.monotonic() - begin < 1.0
    server.resume()
    found = [*(await read(store)).deliveries]
    assert found in ([1], [1, 2, 3])


async def test_a_late_commit_changes_nothing(server, open_store):
    """It was on its way when the session was closed and opened again."""
    first, second = open_store(), open_store()
    await first.open("me", ALL)
    server.send("DEL", "aiomqtt:{me}:lease")
    await second.open("me", ALL)
    with pytest.raises(SessionStoreError, match="another client has opened it"):
        await first.commit([added(1)])
    with pytest.raises(SessionStoreError, match="another client has opened it"):
        await first.load_queued(FIRST_PLACE, 1)
    with pytest.raises(SessionStoreError, match="another client has opened it"):
        await first.list_receipts()
    await first.close()  # It does not end the lease of the other one.
    assert b"-1" not in server.send("PTTL", "aiomqtt:{me}:lease")
    await second.commit([added(2)])
    await second.close()
    assert [*(await read(second)).deliveries] == [2]


async def test_a_server_that_has_lost_a_group(server, open_store):
    store = open_store()
    await store.open("me", ALL)
    await store.commit([added(1)])
    server.send("HINCRBY", "aiomqtt:{me}:session", "commits", "-1")
    with pytest.raises(SessionStoreError, match="lost what was stored last"):
        await store.commit([added(2)])
    await store.close()
    assert [*(await read(store)).deliveries] == [1]


async def test_a_server_that_has_lost_everything(server, open_store):
    store = open_store()
    await store.open("me", ALL)
    await store.commit([added(1)])
    server.send("FLUSHALL")
    with pytest.raises(SessionStoreError, match="or the server has lost it"):
        await store.list_receipts()
    with pytest.raises(SessionStoreError, match="lost what was stored last"):
        await store.commit([added(2)])
    await store.close()
    assert not (await read(store)).deliveries


async def test_a_session_that_was_changed_meanwhile_is_read_again(server, open_store):
    store = open_store()
    generations = [(await store.open("me", ALL)).generation]
    await store.commit([added(1)])
    await store.close()
    generations.append((await store.open("me", ALL)).generation)
    await store.commit([added(2)])
    await store.close()
    # As if the server had lost the last group.
    server.send("HINCRBY", "aiomqtt:{me}:session", "commits", "-1")
    generations.append((await store.open("me", ALL)).generation)
    assert generations == [1, 2, 4]
    await store.close()
    # As if it had lost all.
    server.send("FLUSHALL")
    opened = await store.open("me", ALL)
    assert opened.generation == 6
    assert not opened.state.deliveries


async def test_too_little_memory(start_server, open_store):
    server = start_server(maxmemory="4mb", maxmemory_policy="noeviction")
    store = open_store(url=server.url)
    await store.open("me", ALL)
    await store.commit([added(1)])
    group = [added(number, payload=bytes(1_000_000)) for number in range(2, 7)]
    with pytest.raises(SessionStoreError, match="limit of memory"):
        for one in group:
            await store.commit([one])
    await store.close()
    found = (await read(store)).deliveries
    assert [*found] == [*range(1, len(found) + 1)]
    assert len(found) < 6


# --- the lease ------------------------------------------------------------------------


async def test_a_session_in_use_is_refused_as_soon_as_it_is_renewed(server, open_store):
    store, other = open_store(), open_store()
    await store.open("me", ALL)
    begin = time.monotonic()
    with pytest.raises(SessionStoreError, match="in use by another client of this pro"):
        await other.open("me", ALL)
    assert time.monotonic() - begin < 0.5
    with pytest.raises(SessionStoreError, match="in use by this session already"):
        await store.open("me", ALL)
    await store.commit([added(1)])


PROGRAM = """
import asyncio, sys
from aiomqtt.stores.redis.session_store import RedisSessionStore
from aiomqtt.testing.session_changes import added

async def main():
    store = RedisSessionStore(sys.argv[1], lease=1.5)
    await store.open("me", 10)
    await store.commit([added(1)])
    print("stored", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def start_program(url: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url], stdout=subprocess.PIPE
    )


async def test_the_lease_of_a_process_that_was_killed_expires(server, open_store):
    process = start_program(server.url)
    assert process.stdout is not None
    with process, process.stdout:
        assert await asyncio.to_thread(process.stdout.readline) == b"stored\n"
        with pytest.raises(SessionStoreError, match=f"process {process.pid} "):
            await open_store().open("me", ALL)
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait)
        begin = time.monotonic()
        opened = await open_store().open("me", ALL)
        assert time.monotonic() - begin < 2.0
        assert [*opened.state.deliveries] == [1]


async def test_a_lease_that_has_expired_goes_on_if_nobody_took_it(server, open_store):
    store = open_store(lease=60)
    await store.open("me", ALL)
    server.send("DEL", "aiomqtt:{me}:lease")
    await store.commit([added(1)])
    assert b"another" not in server.send("GET", "aiomqtt:{me}:lease")
    assert b'"pid"' in server.send("GET", "aiomqtt:{me}:lease")


async def test_a_lease_that_never_expires_is_refused(server, open_store):
    server.send("SET", "aiomqtt:{me}:lease", "someone")
    with pytest.raises(SessionStoreError, match="in use by another process"):
        await open_store().open("me", ALL)


async def test_a_close_that_is_cancelled_goes_on(server, open_store):
    store = open_store(lease=60)
    await store.open("me", ALL)
    task = asyncio.ensure_future(store.close())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()
    async with asyncio.timeout(5):
        await store.open("me", ALL)


async def test_opening_can_be_cancelled(server, open_store):
    store = open_store(lease=60)
    cancelled = 0
    for turns in range(0, 150, 3):
        task = asyncio.ensure_future(store.open("me", ALL))
        for _ in range(turns):
            await asyncio.sleep(0)
        is_done = task.done()
        task.cancel()
        await asyncio.wait((task,))
        # redis-py would lose some of them.
        assert is_done or task.cancelled()
        cancelled += task.cancelled()
        await store.close()
        # No lease is left behind.
        assert server.send("EXISTS", "aiomqtt:{me}:lease") == b":0\r\n"
    assert cancelled > 10


TWO_LOOPS = """
import asyncio, sys
from aiomqtt.stores.redis.session_store import RedisSessionStore
from aiomqtt.testing.session_changes import added

store = RedisSessionStore(sys.argv[1], lease=60)

async def begin():
    await store.open("me", 10)
    await store.commit([added(1)])

async def go_on():
    await store.close()
    opened = await store.open("me", 10)
    await store.close()
    return [*opened.state.deliveries]

loop = asyncio.new_event_loop()
loop.run_until_complete(begin())
for task in asyncio.all_tasks(loop):
    task.cancel()
loop.run_until_complete(asyncio.sleep(0))
loop.close()
print(asyncio.run(go_on()))
"""


def test_an_event_loop_that_was_closed(server):
    """In a process of its own: what the loop has left open can't be closed."""
    run = subprocess.run(
        [sys.executable, "-c", TWO_LOOPS, server.url],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert run.stdout == "[1]\n"


# --- sessions that are refused --------------------------------------------------------


async def test_a_newer_format_is_refused(server, open_store):
    await read(open_store())
    server.send("HSET", "aiomqtt:{me}:session", "format", "2")
    with pytest.raises(SessionStoreError, match="update aiomqtt"):
        await open_store().open("me", ALL)


@pytest.mark.parametrize(
    "words",
    [
        ("HDEL", "aiomqtt:{me}:messages", "1"),
        ("HDEL", "aiomqtt:{me}:deliveries", "1"),
        ("ZREM", "aiomqtt:{me}:queued", "1"),
        ("HSET", "aiomqtt:{me}:messages", "1", "x"),
        ("HSET", "aiomqtt:{me}:deliveries", "1", "0 0 0 0 0:"),
        ("HSET", "aiomqtt:{me}:deliveries", "1", '0 65536 0 0 0:[1,0,null,[],""]'),
        ("HSET", "aiomqtt:{me}:deliveries", "1", '0 0 0 0 0:[1,0,1.5,[],""]'),
        ("HSET", "aiomqtt:{me}:subscriptions", "f", "x"),
        ("SADD", "aiomqtt:{me}:received", "x"),
        ("SADD", "aiomqtt:{me}:received", "65536"),
        ("HSET", "aiomqtt:{me}:session", "last_packet_id", "65536"),
        ("HSET", "aiomqtt:{me}:session", "reserved_last", "7"),
    ],
)
async def test_a_damaged_session_is_refused(words, server, open_store):
    store = open_store()
    await store.open("me", ALL)
    await store.commit([added(1)])
    await store.close()
    server.send(*words)
    with pytest.raises(SessionStoreError, match="it is damaged"):
        await store.open("me", ALL)


@pytest.mark.parametrize("values", ["- 1 1 lost", "x 1 1 refused", "0 1 refused"])
async def test_a_damaged_receipt_is_refused(values, server, open_store):
    store = open_store()
    await store.open("me", ALL)
    await store.commit([added(1, 0, "x")])
    server.send("HSET", "aiomqtt:{me}:receipts", "x", values)
    with pytest.raises(SessionStoreError, match="it is damaged"):
        await store.find_receipt("x")
    # The session is still of use.
    await store.commit([added(2)])
    await store.close()


async def test_keys_of_another_kind_are_refused(server, open_store):
    server.send("SET", "aiomqtt:{me}:session", "x")
    with pytest.raises(SessionStoreError, match="the server reports: .*WRONGTYPE"):
        await open_store().open("me", ALL)
