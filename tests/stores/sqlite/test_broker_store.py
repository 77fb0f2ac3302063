"""The store of a broker in a SQLite file."""

import asyncio
import random
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.changes import (
    Change,
    ChangeKind,
    SessionState,
    StoredDelivery,
    StoredSubscription,
)
from aiomqtt.protocol.delivery import QUEUED, RELEASED, SENT
from aiomqtt.protocol.packets import WillMessage
from aiomqtt.standard.names import V5, V311
from aiomqtt.stores.base import SessionStoreError
from aiomqtt.stores.broker import (
    Record,
    RetainedChanged,
    SessionAttributes,
    SessionChanged,
    SessionEnded,
    StoredBroker,
    StoredMessage,
)
from aiomqtt.stores.sqlite.broker_schema import BROKER_SCHEMA
from aiomqtt.stores.sqlite.broker_store import SQLiteStore
from aiomqtt.stores.sqlite.broker_tables import BrokerTables
from aiomqtt.stores.sqlite.file import DatabaseFile
from aiomqtt.stores.sqlite.session_store import SQLiteSessionStore
from tests.broker.conversation import STEPS, Conversation

PLAIN = SessionAttributes(True, 100, None, None, None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "broker.db"


@pytest.fixture
async def store(path: Path):
    store = SQLiteStore(path)
    yield store
    await store.close()


async def again(store: SQLiteStore) -> StoredBroker:
    """What is there when the file is opened again."""
    await store.close()
    return await store.open()


def message(number: int, state: int = QUEUED, packet_id: int = 0) -> StoredDelivery:
    return StoredDelivery(
        number, "t", b"%d" % number, 2, False, None, None, (), "", packet_id, state, 0
    )


def added(number: int, state: int = QUEUED, packet_id: int = 0) -> Change:
    return Change(ChangeKind.ADDED, number, message(number, state, packet_id))


def pending(topic_filter: str, *numbers: int) -> Change:
    return Change(ChangeKind.RETAINED_PENDING, topic_filter, numbers or None)


def changed(client_id: str, *changes: Change) -> SessionChanged:
    return SessionChanged(client_id, PLAIN, list(changes))


async def test_an_empty_store_has_nothing(store):
    assert await store.open() == ([], [])
    assert await again(store) == ([], [])


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([V311, V5]),
    st.lists(st.lists(STEPS, min_size=1, max_size=12), min_size=1, max_size=5),
)
def test_what_a_broker_does_is_stored_in_groups_of_any_size(
    tmp_path_factory, version, groups
):
    path = tmp_path_factory.mktemp("broker") / "broker.db"
    conversation = Conversation(version)
    for group in groups:
        file = DatabaseFile(path, BROKER_SCHEMA)
        tables = BrokerTables(file)
        tables.open()
        for step in group:
            conversation.step(*step)
            if len(conversation.records) > 6:
                tables.write(conversation.records)
                conversation.records.clear()
        tables.write(conversation.records)
        conversation.records.clear()
        file.close()
        sessions = BrokerTables(file).open().sessions
        file.close()
        (session,) = (one for one in sessions if one.state.client_id == "me")
        assert session.attributes == conversation.attributes
        expected = conversation.stored
        # The broker goes on after the last one that it still has.
        session.state.last_sequence = expected.last_sequence
        session.state.last_packet_id = expected.last_packet_id
        assert session.state == expected


async def test_what_a_message_has_comes_back(store):
    await store.open()
    properties = Properties(
        content_type="text", user_property=[("a", "1")], message_expiry_interval=9
    )
    full = StoredDelivery(
        7,
        "ü/t",
        b"\0x",
        1,
        True,
        properties,
        50.5,
        (3, 4),
        "$share/g/t",
        9,
        SENT,
        0,
        published=5,
    )
    await store.commit([changed("me", Change(ChangeKind.ADDED, 7, full))])
    (session,) = (await again(store)).sessions
    assert session.state.deliveries == {7: full}
    assert (session.state.last_sequence, session.state.last_packet_id) == (7, 9)


async def test_released_messages_are_in_the_order_of_their_pubrecs(store):
    await store.open()
    sent = [added(number, SENT, number) for number in (1, 2, 3)]
    await store.commit([changed("me", *sent)])
    await store.commit([changed("me", Change(ChangeKind.RELEASED, 3, 0))])
    await again(store)
    await store.commit(
        [changed("me", Change(ChangeKind.RELEASED, 1, 16), added(4, SENT, 4))]
    )
    (session,) = (await again(store)).sessions
    released, others = session.state.in_order
    assert [one.sequence for one in released] == [3, 1]
    assert [one.sequence for one in others] == [2, 4]
    assert [(one.reason_code, one.payload) for one in released] == [(0, b""), (16, b"")]
    assert {one.state for one in released} == {RELEASED}


@pytest.mark.parametrize("seed", range(3))
async def test_many_messages_of_several_sessions_are_stored_in_one_group(store, seed):
    choose = random.Random(seed)
    await store.open()
    states = [SessionState(name) for name in ("a", "b", "c")]
    for _ in range(4):
        records: list[Record] = []
        for state in states:
            changes: list[Change] = []
            for _ in range(400):
                change = next_change(choose, state)
                state.apply(change)
                changes.append(change)
            records.append(changed(state.client_id, *changes))
        await store.commit(records)
        found = (await again(store)).sessions
        for state, session in zip(states, found, strict=True):
            assert session.state.in_order == state.in_order
            assert session.state.received == state.received
            assert session.state.blocked == state.blocked


def next_change(choose: random.Random, state: SessionState) -> Change:
    """A change of a session, as a broker makes them and in any order."""
    sequence = state.last_sequence + 1
    packet_id = state.last_packet_id + 1
    deliveries = [*state.deliveries.values()]
    roll, one = choose.random(), choose.choice(deliveries or [message(0)])
    if roll < 0.4 or not deliveries:
        is_sent = choose.random() < 0.5
        change = added(sequence, *(SENT, packet_id) if is_sent else ())
        if choose.random() < 0.2:
            assert isinstance(change.value, StoredDelivery)
            change.value.expires = 5.5
            change.value.properties = Properties(message_expiry_interval=9)
        return change
    if roll < 0.6 and one.state == QUEUED:
        return Change(ChangeKind.SENT, one.sequence, packet_id)
    if roll < 0.7 and one.state == SENT:
        return Change(ChangeKind.RELEASED, one.sequence, choose.choice([0, 0, 16]))
    if roll < 0.9:
        return Change(ChangeKind.ENDED, one.sequence)
    kinds = (
        ChangeKind.RECEIVED,
        ChangeKind.COMPLETED,
        ChangeKind.BLOCKED,
        ChangeKind.UNBLOCKED,
    )
    return Change(choose.choice(kinds), choose.randint(1, 20))


async def test_attributes_and_wills_come_back(store):
    await store.open()
    properties = Properties(will_delay_interval=5, content_type="text")
    wills = {
        "plain": None,
        "will": WillMessage("w", b"x", 1, True, properties),
        "short": WillMessage("w", b""),
    }
    records: list[Record] = [
        SessionChanged(name, SessionAttributes(False, 7, 99.5, will, 3.25), [])
        for name, will in wills.items()
    ]
    await store.commit(records)
    found = (await again(store)).sessions
    assert [
        SessionChanged(one.state.client_id, one.attributes, []) for one in found
    ] == records
    await store.commit([changed("will", added(1))])
    (_, second, _) = (await again(store)).sessions
    assert second.attributes == PLAIN
    # Attributes that have not changed are not told.
    await store.commit([SessionChanged("will", None, [added(2)])])
    (_, second, _) = (await again(store)).sessions
    assert second.attributes == PLAIN
    assert [*second.state.deliveries] == [1, 2]


async def test_a_session_that_has_ended_leaves_nothing(store, path):
    await store.open()
    everything = [
        added(1),
        added(2, SENT, 2),
        Change(ChangeKind.BLOCKED, 5),
        Change(ChangeKind.RECEIVED, 6),
        pending("t/#", 0, 9),
    ]
    await store.commit([changed("me", *everything), changed("other", *everything)])
    await store.commit([SessionEnded("me"), changed("me", added(1))])
    found = (await again(store)).sessions
    sessions = {one.state.client_id: one.state for one in found}
    assert [*sessions["me"].deliveries] == [1]
    assert not sessions["me"].blocked
    assert not sessions["me"].received
    assert [*sessions["other"].deliveries] == [1, 2]
    assert sessions["other"].blocked == {5}
    assert sessions["other"].received == {6}
    assert not sessions["me"].pending_retained
    assert sessions["other"].pending_retained == {"t/#": (0, 9)}
    # Of one that was never stored there is nothing to end.
    await store.commit(
        [SessionEnded("me"), SessionEnded("other"), SessionEnded("none")]
    )
    await store.close()
    with sqlite3.connect(path) as connection:
        for (table,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        ).fetchall():
            assert connection.execute(f"SELECT * FROM {table}").fetchall() == []
    connection.close()


async def test_retained_messages_come_back_in_order(store):
    await store.open()
    properties = Properties(message_expiry_interval=9)
    one, two, three = (
        StoredMessage(topic, b"x", 1, properties, 4.5, number)
        for number, topic in ((3, "a"), (5, "b"), (6, "c"))
    )
    await store.commit([RetainedChanged(kept.topic, kept) for kept in (one, two)])
    newer = StoredMessage("a", b"y", 1, None, None, 7)
    await store.commit(
        [
            RetainedChanged("c", three),
            RetainedChanged("a", newer),
            RetainedChanged("b", None),
            RetainedChanged("none", None),
        ]
    )
    assert (await again(store)).retained == [three, newer]


async def test_how_far_retained_messages_were_sent_comes_back(store):
    await store.open()
    await store.commit([changed("me", pending("a", 0, 9), pending("b", 0, 7))])
    await store.commit(
        [
            changed("me", pending("a", 4, 9), pending("a", 5, 9), pending("b")),
            changed("other", pending("c", 0, 1), pending("c")),
        ]
    )
    one, other = (await again(store)).sessions
    assert one.state.pending_retained == {"a": (5, 9)}
    assert other.state.pending_retained == {}


async def test_a_file_of_the_first_version_is_migrated(path, store):
    first = BROKER_SCHEMA._replace(migrations=BROKER_SCHEMA.migrations[:1])
    file = DatabaseFile(path, first)
    file.open()
    with file.transaction() as connection:
        connection.execute(
            "INSERT INTO aiomqtt_sessions (number, client_id, expiry)"
            " VALUES (3, 'me', 9)"
        )
    file.close()
    (session,) = (await store.open()).sessions
    assert session.attributes.expiry == 9
    await store.commit([SessionChanged("me", None, [pending("a", 4, 9)])])
    (session,) = (await again(store)).sessions
    assert session.state.pending_retained == {"a": (4, 9)}


async def test_a_group_is_stored_as_a_whole_or_not_at_all(store):
    await store.open()
    await store.commit([changed("me", added(1))])
    pages = await store._worker.call(store._file.pages)
    limit = f"PRAGMA max_page_count = {pages + 20}"
    await store._worker.call(lambda: store._file.connected().execute(limit).fetchall())
    large = StoredMessage("t", b"x" * 500_000, 1, None, None, 1)
    with pytest.raises(SessionStoreError, match=r"broker\.db: the disk is full"):
        await store.commit([changed("new"), RetainedChanged("t", large)])
    with pytest.raises(SessionStoreError, match="written: start again"):
        await store.commit([changed("me", added(2))])
    found = await again(store)
    assert [one.state.client_id for one in found.sessions] == ["me"]
    assert found.retained == []
    await store.commit([changed("new", added(1))])


async def test_each_kind_of_file_is_refused_for_the_other(tmp_path, path, store):
    session = SQLiteSessionStore(tmp_path / "session.db")
    await session.open("me", 10)
    await session.close()
    await store.open()
    await store.close()
    before = [(tmp_path / name).read_bytes() for name in ("session.db", "broker.db")]
    with pytest.raises(SessionStoreError, match="does not have the sessions of a bro"):
        await SQLiteStore(tmp_path / "session.db").open()
    with pytest.raises(SessionStoreError, match="does not have the session of a cli"):
        await SQLiteSessionStore(path).open("me", 10)
    after = [(tmp_path / name).read_bytes() for name in ("session.db", "broker.db")]
    assert before == after


async def test_a_file_in_use_is_refused(path, store):
    await store.open()
    with pytest.raises(SessionStoreError, match="in use by"):
        await SQLiteStore(path).open()
    with pytest.raises(SessionStoreError, match="in use"):
        await store.open()
    # Until it is closed, also by `Broker.kill`.
    store.abandon()
    store.abandon()
    assert await store.open() == ([], [])


async def test_a_file_that_is_not_open_takes_nothing(store):
    with pytest.raises(SessionStoreError, match="not open"):
        await store.commit([SessionEnded("me")])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE aiomqtt_outgoing SET payload = x'00'",
        "UPDATE aiomqtt_outgoing SET properties = x'ff'",
        "UPDATE aiomqtt_outgoing SET session = 77",
        "UPDATE aiomqtt_outgoing SET qos = 3",
        "UPDATE aiomqtt_outgoing SET qos = 'x'",
        "UPDATE aiomqtt_outgoing SET state = -1",
        "UPDATE aiomqtt_outgoing SET state = 1",
        "UPDATE aiomqtt_outgoing SET packet_id = 70000",
        "UPDATE aiomqtt_outgoing SET published = 99",
        "UPDATE aiomqtt_outgoing SET expires = x'00'",
        "UPDATE aiomqtt_pending_retained SET session = 77",
        "UPDATE aiomqtt_pending_retained SET newest = 0",
        "UPDATE aiomqtt_pending_retained SET sent = 'x'",
        "UPDATE aiomqtt_subscriptions SET qos = 3",
        "UPDATE aiomqtt_subscriptions SET identifier = -1",
        "UPDATE aiomqtt_retained SET qos = 3",
        "UPDATE aiomqtt_retained SET expires = 1.5",
        "UPDATE aiomqtt_outgoing SET expires = 1.5",
        "UPDATE aiomqtt_sessions SET expiry = -1",
        "UPDATE aiomqtt_sessions SET ends = 'x'",
        "UPDATE aiomqtt_sessions SET will_qos = 3",
        "UPDATE aiomqtt_retained SET payload = x'00'",
        "UPDATE aiomqtt_sessions SET will_payload = x'00'",
    ],
)
async def test_what_has_changed_in_the_file_is_refused(path, store, statement):
    await store.open()
    attributes = PLAIN._replace(will=WillMessage("w", b"x"))
    subscription = StoredSubscription(SubscribeOptions(1), 1)
    subscribed = Change(ChangeKind.SUBSCRIBED, "t", subscription)
    await store.commit(
        [
            SessionChanged(
                "me", attributes, [added(1), pending("t", 1, 2), subscribed]
            ),
            RetainedChanged("t", StoredMessage("t", b"x", 1, None, None, 1)),
        ]
    )
    await store.close()
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(SessionStoreError, match="is damaged"):
        await store.open()


async def test_the_file_of_a_queue_that_was_drained_is_small_again(store, path):
    await store.open()
    numbers = range(1, 1000)
    payload = b"x" * 8000
    many = [
        StoredDelivery(number, "t", payload, 1, False, None, None, (), "", 0, QUEUED, 0)
        for number in numbers
    ]
    await store.commit(
        [changed("me", *(Change(ChangeKind.ADDED, one.sequence, one) for one in many))]
    )
    await store.commit(
        [changed("me", *(Change(ChangeKind.ENDED, number) for number in numbers))]
    )
    await store.close()
    assert path.stat().st_size < 1_500_000


async def test_a_commit_that_is_cancelled_is_stored_or_not(store):
    await store.open()
    committing = asyncio.create_task(store.commit([changed("me", added(1))]))
    await asyncio.sleep(0)
    committing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committing
    found = (await again(store)).sessions
    assert [[*one.state.deliveries] for one in found] in ([], [[1]])


def test_a_durability_that_is_none_is_refused(path):
    with pytest.raises(ValueError, match='durability must be "normal" or "full"'):
        SQLiteStore(path, durability="fast")  # type: ignore[arg-type]
    assert SQLiteStore(path, durability="full").path == str(path)
