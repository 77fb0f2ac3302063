"""The client's log, and log handlers that fail."""

import asyncio
import logging
from typing import Any

import pytest

from aiomqtt import Broker, Client, MqttError, Properties, Will
from aiomqtt.log import SafeLogger
from tests.peer import CONNECT, PUBACK, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, serve
from tests.raw_scripts import (
    CEILING,
    accept,
    ack_bytes,
    fails,
    goodbye,
    new_client,
    polite,
    publish_bytes,
    text,
    within,
)

SECRET = "s3cret-word"

# --- the argument --------------------------------------------------------------


@pytest.mark.parametrize(
    "logger", ["mqtt", 1, True, logging, logging.WARNING, object()]
)
@pytest.mark.parametrize("kind", [Client, Broker])
def test_what_is_no_logger_is_refused_at_construction(kind, logger):
    with pytest.raises(TypeError, match=r"logger must be a logging\.Logger"):
        kind("localhost", logger=logger)


def test_the_name_of_a_logger_is_answered_with_how_to_get_it():
    with pytest.raises(TypeError, match=r"logging\.getLogger\('mqtt'\)"):
        Client("localhost", logger="mqtt")  # type: ignore[arg-type]


async def test_an_adapter_is_a_logger(caplog):
    caplog.set_level(logging.DEBUG, "mine")

    class Adapter(logging.LoggerAdapter[Any]):
        def process(self, msg, kwargs):
            return f"[{self.extra['name']}] {msg}", kwargs  # type: ignore[index]

    adapter = Adapter(logging.getLogger("mine"), {"name": "pump"})
    async with serve(polite()) as server, new_client(server, logger=adapter):
        pass
    own = [record.getMessage() for record in caplog.records if record.name == "mine"]
    assert own
    assert all(message.startswith("[pump] ") for message in own)


# --- what is logged ------------------------------------------------------------


def messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "mqtt" and record.levelno == level
    ]


async def conversation(broker: Broker, version: int) -> None:
    """Every packet in both directions."""
    client = Client(
        broker.name,
        transport="memory",
        protocol=version,
        identifier="pump",
        username="u",
        password=SECRET,
        will=Will("gone", SECRET, 1, retain=True),
        keepalive=7,
    )
    async with asyncio.timeout(CEILING), client:
        await client.subscribe([("a/+", 2), ("b", 0)])
        for qos in (0, 1, 2):
            await client.publish("a/b", SECRET, qos)
        count = 0
        async for message in client.messages:
            assert message.payload == SECRET.encode()
            count += 1
            if count == 3:
                break
        await client.publish("a/b/c", None)
        await client.unsubscribe(["b", "a/+"])


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_every_packet_is_logged_in_the_words_of_paho(caplog, version):
    caplog.set_level(logging.DEBUG, "mqtt")
    caplog.set_level(logging.DEBUG, "aiomqtt.broker")
    async with Broker(None, credentials={"u": SECRET}) as broker:
        await conversation(broker, version)
        said = messages(caplog, logging.DEBUG)
        connect = "Sending CONNECT (u1, p1, wr1, wq1, wf1, c1, k7) client_id='pump'"
        assert said[0] == connect
        accepted = "Success" if version == 5 else "Connection accepted"
        assert said[1].startswith(f"Received CONNACK (0, {accepted})")
        # In their order, among others.
        left = iter(said)
        for line in (
            "Sending SUBSCRIBE (m1) [('a/+', 2), ('b', 0)]",
            "Received SUBACK (Mid: 1) [Granted QoS 2, Granted QoS 0]",
            "Sending PUBLISH (d0, q0, r0, m0), 'a/b', ... (11 bytes)",
            "Sending PUBLISH (d0, q1, r0, m2), 'a/b', ... (11 bytes)",
            "Received PUBACK (Mid: 2)",
            "Sending PUBLISH (d0, q2, r0, m3), 'a/b', ... (11 bytes)",
            "Received PUBREC (Mid: 3)",
            "Sending PUBREL (Mid: 3)",
            "Received PUBCOMP (Mid: 3)",
            "Sending PUBLISH (d0, q0, r0, m0), 'a/b/c', ... (0 bytes)",
            "Sending UNSUBSCRIBE (m4) ['b', 'a/+']",
        ):
            assert line in left, line
        assert "Received PUBLISH (d0, q1, r0, m1), 'a/b', ... (11 bytes)" in said
        assert "Sending PUBACK (Mid: 1)" in said
        assert said[-1] == "Sending DISCONNECT"
    # The broker says the same, and whom it speaks to.
    assert "Received SUBSCRIBE from pump (m1) [('a/+', 2), ('b', 0)]" in caplog.messages
    assert "Sending PUBACK to pump (Mid: 2)" in caplog.messages
    assert SECRET not in caplog.text


async def test_properties_and_reasons_are_logged_and_secrets_are_not(caplog):
    caplog.set_level(logging.DEBUG, "mqtt")

    async def script(peer):
        await peer.expect(CONNECT)
        peer.connack(5, properties=b"\x15\x00\x01m\x16\x00\x0b" + SECRET.encode())
        peer.packet(0xE0, b"\x8b\x00")
        peer.close()

    properties = Properties(
        authentication_method="m",
        authentication_data=SECRET.encode(),
        user_property=[("site", "7")],
    )
    async with serve(script) as server:
        client = new_client(server, 5, properties=properties)
        with pytest.raises(MqttError):
            async with asyncio.timeout(CEILING), client:
                await anext(aiter(client.messages))
    said = messages(caplog, logging.DEBUG)
    assert "user_property=[('site', '7')]" in said[0]
    assert "Received DISCONNECT (Server shutting down)" in said
    assert SECRET not in caplog.text


async def test_a_packet_that_comes_in_parts_is_logged_once(caplog):
    caplog.set_level(logging.DEBUG, "mqtt")
    packet = publish_bytes("t", b"x" * 50_000, 1, 7)

    async def script(peer):
        await accept(peer)
        for start in range(0, len(packet), 9_000):
            peer.send(packet[start : start + 9_000])
            await peer.drain()
            await asyncio.sleep(0.01)
        await peer.expect(4)
        await goodbye(peer)

    async with serve(script) as server, new_client(server) as client:
        await within(anext(aiter(client.messages)))
    said = messages(caplog, logging.DEBUG)
    assert said.count("Received PUBLISH (d0, q1, r0, m7), 't', ... (50000 bytes)") == 1


async def test_a_level_that_changes_counts_a_second_later(caplog):
    logger = logging.getLogger("mqtt")
    packet = publish_bytes("t", b"x" * 5_000, 0)
    sent = asyncio.Event()

    async def script(peer):
        await accept(peer)
        peer.send(packet[:100])
        await peer.drain()
        await sent.wait()
        peer.send(packet[100:] + publish_bytes("t", b"next", 0))
        await goodbye(peer)

    async with serve(script) as server, new_client(server) as client:
        while not client._engine.is_inside_packet:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        caplog.set_level(logging.DEBUG, logger.name)
        await asyncio.sleep(1.1)
        sent.set()
        for _ in range(2):
            await within(anext(aiter(client.messages)))
    said = messages(caplog, logging.DEBUG)
    # That one began before anybody listened.
    assert not any("5000 bytes" in line for line in said)
    assert said[-1] == "Sending DISCONNECT"


async def test_a_connection_that_begins_and_ends_is_told_at_info(caplog):
    caplog.set_level(logging.INFO, "mqtt")
    async with serve(polite()) as server:
        where = f"{server.host}:{server.port}"
        async with new_client(server, identifier="pump"):
            pass
    assert messages(caplog, logging.INFO) == [
        f"Connected to {where} as pump",
        f"Disconnected from {where}",
    ]


async def test_a_connection_that_is_lost_is_told_at_info(caplog):
    caplog.set_level(logging.INFO, "mqtt")

    async def cuts(peer):
        await accept(peer)
        peer.close()

    async def says_why(peer):
        await accept(peer, 5)
        peer.packet(0xE0, b"\x8e")
        peer.close()

    async with serve(cuts, says_why) as server:
        where = f"{server.host}:{server.port}"
        for version in (4, 5):
            with pytest.raises(MqttError):
                async with (
                    asyncio.timeout(CEILING),
                    new_client(server, version) as client,
                ):
                    await anext(aiter(client.messages))
    lost = [line for line in messages(caplog, logging.INFO) if "lost" in line]
    assert len(lost) == 2
    assert lost[0].count(where) == lost[1].count(where) == 1
    assert "by the broker: Session taken over" in lost[1]


async def test_a_connection_that_never_came_about_is_not_told(caplog):
    caplog.set_level(logging.INFO, "mqtt")

    async def refuses(peer):
        await accept(peer, code=5)
        peer.close()

    async with serve(refuses) as server:
        await fails(new_client(server))
    assert messages(caplog, logging.INFO) == []


async def test_nothing_is_described_where_nobody_listens(monkeypatch):
    def never(_self, *_args):
        raise AssertionError

    monkeypatch.setattr("aiomqtt.net.trace.Trace.sent", never)
    monkeypatch.setattr("aiomqtt.net.trace.Trace.received", never)
    logging.getLogger("mqtt").setLevel(logging.INFO)
    try:
        async with serve(polite()) as server, new_client(server) as client:
            await client.subscribe("t")
    finally:
        logging.getLogger("mqtt").setLevel(logging.NOTSET)


# --- attributes of the records -------------------------------------------------


def events(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """What the records have besides texts, without those of packets."""
    found = [
        {name: value for name, value in vars(record).items() if name[:5] == "mqtt_"}
        for record in caplog.records
        if record.name == "mqtt"
    ]
    assert all(fields["mqtt_event"] for fields in found)
    return [fields for fields in found if "mqtt_packet" not in fields]


async def test_a_connection_and_its_end_are_events(caplog):
    caplog.set_level(logging.INFO, "mqtt")

    async def first(peer):
        await accept(peer, 5, properties=b"\x12" + text("auto\n"))
        await goodbye(peer)

    async def second(peer):
        await accept(peer, 5, session_present=1)
        peer.packet(0xE0, b"\x8b\x00")
        peer.close()

    async def third(peer):
        await accept(peer, 5)
        peer.close()

    async with serve(first, second, third) as server:
        where = f"{server.host}:{server.port}"
        keep = Properties(session_expiry_interval=60)
        client = new_client(server, 5, properties=keep)
        async with client:
            pass
        for _ in range(2):
            with pytest.raises(MqttError):
                async with asyncio.timeout(CEILING), client:
                    await anext(aiter(client.messages))
    # Escaped, as in the text.
    about = {"mqtt_broker": where, "mqtt_client_id": r"auto\n"}
    connected = about | {"mqtt_event": "connected"}
    lost = about | {"mqtt_event": "connection_lost"}
    assert events(caplog) == [
        connected | {"mqtt_session_present": False},
        about | {"mqtt_event": "disconnected"},
        connected | {"mqtt_session_present": True},
        lost | {"mqtt_reason_code": 0x8B},
        connected | {"mqtt_session_present": False},
        lost | {"mqtt_reason_code": None},
    ]
    # A plain number, which every formatter knows.
    assert type(events(caplog)[3]["mqtt_reason_code"]) is int


async def test_what_the_broker_refuses_and_what_is_discarded_are_events(caplog):
    caplog.set_level(logging.WARNING, "mqtt")

    async def script(peer):
        await accept(peer, 5)
        await peer.expect(SUBSCRIBE)
        peer.packet(0x90, b"\x00\x01\x00" + b"\x87" * 12)
        await peer.expect(UNSUBSCRIBE)
        peer.packet(0xB0, b"\x00\x02\x00\x11\x87")
        await peer.expect(PUBLISH)
        peer.send(ack_bytes(PUBACK, 3, 0x97))
        peer.send(publish_bytes("t", b"x", version=5) * 5)
        await goodbye(peer)

    async with serve(script) as server:
        client = new_client(server, 5, identifier="me", max_queued_incoming_messages=2)
        async with asyncio.timeout(CEILING), client:
            await client.subscribe([(f"a/{number}", 0) for number in range(12)])
            await client.unsubscribe(["b", "c"])
            client.publish_nowait("t", SECRET, 1)
            while client.statistics.messages_discarded < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            await anext(client.messages)
    about = {
        "mqtt_broker": f"{server.host}:{server.port}",
        "mqtt_client_id": "me",
    }
    found = events(caplog)
    assert all(fields.items() >= about.items() for fields in found)
    for fields in found:
        for name in about:
            del fields[name]
    refused = {"mqtt_event": "subscription_refused", "mqtt_reason_code": 0x87}
    assert found == [
        *(refused | {"mqtt_topic_filter": f"a/{number}"} for number in range(10)),
        {"mqtt_event": "subscription_refused", "mqtt_count": 2},
        {
            "mqtt_event": "unsubscription_refused",
            "mqtt_reason_code": 0x87,
            "mqtt_topic_filter": "c",
        },
        {"mqtt_event": "message_refused", "mqtt_reason_code": 0x97},
        {"mqtt_event": "queue_full"},
        {"mqtt_event": "messages_discarded", "mqtt_count": 3},
    ]


async def test_an_attempt_that_fails_is_an_event(caplog):
    caplog.set_level(logging.INFO, "mqtt")

    async def busy(peer):
        await accept(peer, 5, code=0x89)
        peer.close()

    async with serve(busy) as one, serve(polite(5)) as other:
        pairs = [(one.host, one.port), (other.host, other.port)]
        async with Client(pairs, protocol=5, identifier="me"):
            pass
    assert events(caplog)[0] == {
        "mqtt_event": "attempt_failed",
        "mqtt_broker": f"{one.host}:{one.port}",
        "mqtt_client_id": "me",
        "mqtt_next_broker": f"{other.host}:{other.port}",
        "mqtt_reason_code": 0x89,
    }
    assert events(caplog)[1]["mqtt_broker"] == f"{other.host}:{other.port}"


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_no_attribute_of_a_record_has_a_payload_or_a_secret(caplog, version):
    caplog.set_level(logging.DEBUG, "mqtt")
    async with Broker(None, credentials={"u": SECRET}) as broker:
        await conversation(broker, version)
    packets = set()
    for record in caplog.records:
        if record.name == "mqtt":
            assert SECRET not in repr(vars(record))
            packets.add((vars(record)["mqtt_event"], vars(record).get("mqtt_packet")))
    assert ("packet_sent", "CONNECT") in packets
    assert ("packet_received", "PUBLISH") in packets


async def test_the_attributes_of_a_program_stay(caplog):
    caplog.set_level(logging.INFO, "mqtt")
    # An adapter puts its attributes in the place of others, unless it merges them.
    plain = logging.LoggerAdapter(logging.getLogger("mqtt"), {"site": "cellar"})
    async with serve(polite()) as server, new_client(server, logger=plain):
        pass
    assert caplog.records[0].__dict__["site"] == "cellar"
    assert caplog.messages[0].startswith("Connected to ")


# --- handlers that do harm -----------------------------------------------------


class Raises(logging.Handler):
    """Raises, rather than call `handleError`."""

    def emit(self, record: logging.LogRecord) -> None:
        msg = "the disk is full"
        raise OSError(msg)


def logger_with(handler: logging.Handler) -> logging.Logger:
    logger = logging.Logger("own", logging.DEBUG)  # noqa: LOG001
    logger.addHandler(handler)
    return logger


async def test_a_handler_that_raises_harms_nobody(capsys):
    logger = logger_with(Raises())
    async with Broker(None, logger=logger) as broker:
        client = Client(broker.name, transport="memory", logger=logger)
        async with asyncio.timeout(CEILING), client:
            await client.subscribe("t")
            await client.publish("t", b"x", 2)
            message = await anext(aiter(client.messages))
            assert message.payload == b"x"
    assert "the disk is full" in capsys.readouterr().err


def test_nothing_is_reported_where_the_program_wants_none(capsys, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    SafeLogger(logger_with(Raises())).warning("said")
    assert capsys.readouterr().err == ""


async def test_a_handler_that_publishes_breaks_no_order():
    class Publishes(logging.Handler):
        is_busy = False

        def emit(self, record: logging.LogRecord) -> None:
            if client.is_connected() and not self.is_busy:
                self.is_busy = True
                client.publish_nowait("log", record.getMessage())
                self.is_busy = False

    async with Broker(None) as broker:
        client = Client(
            broker.name, transport="memory", logger=logger_with(Publishes())
        )
        async with asyncio.timeout(CEILING), client:
            await client.subscribe("t")
            for number in range(20):
                await client.publish("t", str(number), number % 3)
            payloads = []
            async for message in client.messages:
                payloads.append(int(message.payload))
                if len(payloads) == 20:
                    break
    assert payloads == [*range(20)]


def test_a_line_is_that_of_its_caller(caplog):
    caplog.set_level(logging.DEBUG, "mqtt")
    logger = SafeLogger(logging.getLogger("mqtt"))
    logger.info("said")
    logger.log(logging.INFO, "said")
    logger.event(logging.INFO, "something", {}, "said")
    for record in caplog.records:
        assert record.filename == "test_log.py"
