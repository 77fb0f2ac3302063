"""A cluster of brokers whose nodes crash in turn: nothing acknowledged is lost."""

import asyncio
import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiomqtt import Client, ProtocolVersion, Reconnect
from tests.nats_cluster import Cluster, start_cluster
from tests.until import until

# After each crash the nodes elect who leads a stream, which takes ten seconds.
pytestmark = [pytest.mark.timeout(400), pytest.mark.once("compiled")]

TOPIC = "cluster/numbers"
# How many are acknowledged between two crashes.
MANY = 50
# Between two of them, in seconds: the servers have more to do for each than the client.
PAUSE = 0.01
# Until a cluster without a leader has one, and what waited has arrived, in seconds.
PATIENCE = 120


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = start_cluster(tmp_path)
    yield cluster
    cluster.stop()


def client_of(cluster: Cluster, first: int, name: str) -> Client:
    """With a session that stays, and the addresses of all nodes, from `first` on."""
    return Client(
        cluster.addresses(first),
        identifier=name,
        protocol=ProtocolVersion.V311,
        clean_session=False,
        timeout=5,
        keepalive=5,
        reconnect=Reconnect(min_delay=0.1, max_delay=1),
    )


async def test_nodes_are_killed_in_turn(cluster):
    """Each client begins with another node, so that each crash hits one of them."""
    publisher = client_of(cluster, 0, "publisher")
    consumers = [client_of(cluster, first, f"consumer-{first}") for first in (1, 2)]
    received: list[list[int]] = [[], []]
    acknowledged = 0
    is_over = False

    def state():
        counts = [len({*numbers}) for numbers in received]
        return f"acknowledged {acknowledged}, received {counts}"

    async def publish():
        nonlocal acknowledged
        while not is_over:
            await publisher.publish(TOPIC, acknowledged, 1, timeout=math.inf)
            acknowledged += 1
            await asyncio.sleep(PAUSE)

    async def consume(client, numbers):
        async for message in client.messages:
            numbers.append(int(message.payload))

    async def more_are_acknowledged():
        wanted = acknowledged + MANY
        await until(lambda: acknowledged >= wanted, PATIENCE, state)

    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        for client in (publisher, *consumers):
            await stack.enter_async_context(client)
        running = []
        for client, numbers in zip(consumers, received, strict=True):
            await client.subscribe(TOPIC, 1)
            running.append(tasks.create_task(consume(client, numbers)))
        publishing = tasks.create_task(publish())
        for node in cluster.nodes:
            await more_are_acknowledged()
            node.kill()
            await more_are_acknowledged()
            cluster.start_node(node)
            await asyncio.to_thread(node.wait_until_it_answers)
        is_over = True
        await publishing
        promised = {*range(acknowledged)}
        await until(
            lambda: all(promised <= {*one} for one in received), PATIENCE, state
        )
        for task in running:
            task.cancel()
    # Each of them lost a connection.
    for client in (publisher, *consumers):
        assert client.statistics.connections_lost > 0
