"""What is asked of a Redis server, and its errors."""

import asyncio
import logging
import time

import pytest

from aiomqtt.stores.base import SessionStoreError
from aiomqtt.testing.session_changes import added
from tests.ports import free_port

# Password and name of a user who may do only what the store needs.
NAME, PASSWORD = "sensor", "secret"
COMMANDS = "+eval +evalsha +hget +hset +hmget +hgetall +hdel +hlen +hincrby +get +set"
COMMANDS += " +pttl +pexpire +del +unlink +smembers +sadd +srem +zadd +zrem +zcard"
COMMANDS += " +zrange +zrangebyscore +zscore"


async def test_a_server_that_can_not_be_reached(open_store):
    port = free_port()
    begin = time.monotonic()
    with pytest.raises(SessionStoreError, match=f"127.0.0.1:{port}: .*can't be reach"):
        await open_store(url=f"redis://u:secret@127.0.0.1:{port}").open("me", 1)
    assert time.monotonic() - begin < 4
    with pytest.raises(SessionStoreError, match=r"nothing/here: .*can't be reached"):
        await open_store(url="unix:///nothing/here").open("me", 1)


async def test_wrong_credentials(start_server, open_store):
    server = start_server(requirepass="p")
    url = server.url.replace("redis://", "redis://:wrong@")
    with pytest.raises(SessionStoreError, match="other credentials") as caught:
        await open_store(url=url).open("me", 1)
    assert ":wrong" not in str(caught.value)
    with pytest.raises(SessionStoreError, match="other credentials"):
        await open_store(url=server.url).open("me", 1)
    await open_store(url=server.url.replace("redis://", "redis://:p@")).open("me", 1)


async def test_options_of_the_url(server, open_store):
    store = open_store(url=f"{server.url}?decode_responses=True&client_name=x")
    await store.open("me", 1)
    await store.commit([added(1)])
    assert b"name=x" in server.send("CLIENT", "LIST")


# --- whether it keeps what it gets ----------------------------------------------------


async def test_a_server_without_a_file_is_refused(start_server, open_store):
    server = start_server(appendonly="no")
    for durability in ("normal", "full"):
        with pytest.raises(SessionStoreError, match="set `appendonly yes`"):
            await open_store(url=server.url, durability=durability).open("me", 1)
    assert server.send("KEYS", "*") == b"*0\r\n"
    await open_store(url=server.url, durability="none").open("me", 1)


async def test_full_durability_needs_a_write_for_each_group(start_server, open_store):
    server = start_server(appendfsync="everysec")
    with pytest.raises(SessionStoreError, match="set `appendfsync always`"):
        await open_store(url=server.url, durability="full").open("me", 1)
    await open_store(url=server.url, durability="normal").open("me", 1)


async def test_a_server_that_evicts_is_refused(start_server, open_store):
    server = start_server(maxmemory="100mb", maxmemory_policy="allkeys-lru")
    with pytest.raises(SessionStoreError, match="maxmemory-policy noeviction"):
        await open_store(url=server.url).open("me", 1)
    server.send("CONFIG", "SET", "maxmemory", "0")
    await open_store(url=server.url).open("me", 1)


@pytest.mark.parametrize("durability", ["normal", "full"])
async def test_a_server_that_does_not_tell(durability, server, open_store, caplog):
    rules = f"on >{PASSWORD} ~aiomqtt:* resetchannels {COMMANDS}"
    server.send("ACL", "SETUSER", NAME, *rules.split())
    url = server.url.replace("redis://", f"redis://{NAME}:{PASSWORD}@")
    store = open_store(url=url, durability=durability)
    with caplog.at_level(logging.WARNING, "aiomqtt"):
        await store.open("me", 1)
    assert "does not allow INFO" in caplog.text
    assert ("CONFIG GET" in caplog.text) == (durability == "full")
    await store.commit([added(1), added(2, 1, "receipt")])
    await asyncio.sleep(0.3)  # The lease is renewed.
    await store.close()
    opened = await store.open("me", 1)
    assert [*opened.state.deliveries] == [1, 2]


async def test_a_command_that_is_not_allowed(server, open_store):
    rules = f"on >{PASSWORD} ~aiomqtt:* +@all -evalsha"
    server.send("ACL", "SETUSER", NAME, *rules.split())
    url = server.url.replace("redis://", f"redis://{NAME}:{PASSWORD}@")
    store = open_store(url=url)
    await store.open("me", 1)
    with pytest.raises(SessionStoreError, match="may not use a command or a key"):
        await store.commit([added(1)])


# --- replicas -------------------------------------------------------------------------


def wait_for_replica(server) -> None:
    give_up_at = time.monotonic() + 20
    while b"state=online" not in server.send("INFO", "replication"):
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


async def test_replicas_have_what_is_stored(server, start_server, open_store):
    store = open_store(wait_replicas=1, timeout=0.4)
    await store.open("me", 1)
    with pytest.raises(SessionStoreError, match="only 0 of 1 replicas"):
        await store.commit([added(1)])
    await store.close()

    replica = start_server(replicaof=f"127.0.0.1 {server.port}")
    await asyncio.to_thread(wait_for_replica, server)
    with pytest.raises(SessionStoreError, match="the server is a replica"):
        await open_store(url=replica.url).open("me", 1)
    store = open_store(wait_replicas=1)
    opened = await store.open("me", 10)
    assert [*opened.state.deliveries] == [1]  # It was stored, but not confirmed.
    for number in range(2, 10):
        await store.commit([added(number)])
        # The one that takes over has it.
        found = replica.send("HEXISTS", "aiomqtt:{me}:messages", str(number))
        assert found == b":1\r\n"
    server.kill()
    replica.send("REPLICAOF", "NO", "ONE")
    opened = await open_store(url=replica.url).open("me", 100)
    assert [*opened.state.deliveries] == [*range(1, 10)]
