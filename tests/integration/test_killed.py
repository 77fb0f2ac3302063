"""Need 24: a process is killed in the middle of QoS 1 and 2, and nothing is lost."""

from pathlib import Path

import pytest

from aiomqtt.client.pages_async import PAGE
from aiomqtt.stores.sqlite.session_store import SQLiteSessionStore
from aiomqtt.testing.session_changes import added
from tests.brokers import Broker
from tests.chaos.peer import Peer
from tests.chaos.running import running
from tests.killed.program import Program
from tests.until import becomes_so

PROGRAMS = Path(__file__).parents[1] / "killed"

KILLS = 12
COUNT = 3000
# How many messages an earlier process has left.
LEFT = 3 * PAGE


@pytest.mark.timeout(120)
@pytest.mark.parametrize("version", [4, 5])
async def test_need_24_a_publisher_that_is_killed_loses_and_doubles_nothing(
    version: int, quiet_broker: Broker, tmp_path: Path
):
    """At QoS 2 each message arrives once, at QoS 1 at least once, both in order."""
    came: dict[str, list[int]] = {"killed/1": [], "killed/2": []}
    watch = Peer(
        *(quiet_broker.host, quiet_broker.port, "watch", version),
        lambda topic, payload: came[topic].append(int(payload)),
        "killed/#",
    )
    arguments = (
        quiet_broker.host,
        quiet_broker.port,
        tmp_path / "session.db",
        COUNT,
        version,
    )
    once, again = came["killed/2"], came["killed/1"]
    async with running(watch.run()):
        await watch.ready.wait()
        await kill_again_and_again("publisher.py", *arguments)
        assert await becomes_so(lambda: len(once) + len(set(again)) >= COUNT, 10)
    assert once == list(range(1, COUNT, 2))
    # Without the repetitions, they came in order.
    assert list(dict.fromkeys(again)) == list(range(0, COUNT, 2))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("version", [4, 5])
async def test_a_sender_that_is_killed_reads_on_where_it_was(
    version: int, quiet_broker: Broker, tmp_path: Path
):
    """Most of the messages wait in the file, and are read in portions."""
    path = tmp_path / "session.db"
    store = SQLiteSessionStore(str(path))
    await store.open("killed-sender", 0)
    await store.commit([added(one, topic="left", qos=2) for one in range(1, LEFT + 1)])
    await store.close()
    came: list[int] = []
    watch = Peer(
        *(quiet_broker.host, quiet_broker.port, "watch", version),
        lambda topic, payload: came.append(int(payload)),
        "left",
    )
    async with running(watch.run()):
        await watch.ready.wait()
        await kill_again_and_again(
            "sender.py", quiet_broker.host, quiet_broker.port, path, version
        )
        assert await becomes_so(lambda: len(came) >= LEFT, 20)
    assert came == list(range(1, LEFT + 1))


async def kill_again_and_again(program: str, *arguments: object) -> None:
    """Start the program and kill it; the last time, let it finish."""
    started = Program(PROGRAMS / program, *arguments, ready="entered")
    await started.kill_again_and_again(KILLS)
    assert await started.finish() == ["done"]
