"""Wrong arguments: an error at the call that names argument and rule, and no more."""

import asyncio
import ssl
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

import aiomqtt
from aiomqtt import (
    Client,
    Message,
    Properties,
    ProtocolVersion,
    ProxySettings,
    SubscribeOptions,
    TLSParameters,
    Wildcard,
    Will,
)
from tests.peer import PUBLISH, SUBSCRIBE, UNSUBSCRIBE, serve
from tests.raw_scripts import (
    accept,
    expect_publish,
    new_client,
    polite,
    serve_politely,
)

LONG = "x" * 65_536
LONG_IN_BYTES = "é" * 32_768

# --- the calls -----------------------------------------------------------------

TOPIC_NAMES = [
    (("a/+/b",), ValueError, "(?i)topic.*wildcard"),
    (("a/#",), ValueError, "(?i)topic.*wildcard"),
    (("",), ValueError, "(?i)topic.*(empty|character)"),
    (("a\0b",), ValueError, r"(?i)topic.*U\+0000"),
    (("a\ud800b",), ValueError, "(?i)topic.*UTF-8"),
    ((LONG,), ValueError, "(?i)topic.*65535"),
    ((LONG_IN_BYTES,), ValueError, "(?i)topic.*65535"),
    ((None,), TypeError, "topic must be str"),
    ((b"a",), TypeError, "topic must be str"),
]

PUBLISH_ARGUMENTS = [
    *TOPIC_NAMES,
    (("a", object()), TypeError, "payload must be"),
    (("a", [1]), TypeError, "payload must be"),
    (("a", "\ud800"), ValueError, "payload.*UTF-8"),
    (("a", b"", 3), ValueError, "qos must be 0, 1 or 2"),
    (("a", b"", -1), ValueError, "qos must be 0, 1 or 2"),
    (("a", b"", "1"), (TypeError, ValueError), "qos must be"),
    (("a", b"", None), (TypeError, ValueError), "qos must be"),
    (("a", b"", 1.0), (TypeError, ValueError), "qos must be"),
    (("a", b"", 1, False, "properties"), TypeError, "properties must be Properties"),
    (("a", b"", 1, False, {}), TypeError, "properties must be Properties"),
]

SUBSCRIBE_ARGUMENTS = [
    (("a#",), ValueError, "(?i)(topic|filter).*a#"),
    (("a/#/b",), ValueError, "(?i)(topic|filter).*a/#/b"),
    (("a+/b",), ValueError, r"(?i)(topic|filter).*a\+/b"),
    (("",), ValueError, "(?i)(topic|filter)"),
    (("a\0b",), ValueError, r"(?i)(topic|filter).*U\+0000"),
    (("a\ud800b",), ValueError, "(?i)(topic|filter).*UTF-8"),
    ((LONG,), ValueError, "(?i)(topic|filter).*65535"),
    ((LONG_IN_BYTES,), ValueError, "(?i)(topic|filter).*65535"),
    ((["fine", "a#"],), ValueError, "(?i)(topic|filter).*a#"),
    (([],), ValueError, "(?i)(topic|filter)"),
    ((None,), TypeError, "topic must be str"),
    ((5,), TypeError, "topic must be str"),
    (([None],), TypeError, "topic must be str"),
    (([("a", 1), 5],), TypeError, "topic must be str"),
    (((5, 1),), TypeError, "topic must be str"),
    ((("a",),), ValueError, "topic must be"),
    ((("a", 1, 2),), ValueError, "topic must be"),
    ((("a", 3),), ValueError, "qos must be 0, 1 or 2"),
    (([("a", 0), ("b", 3)],), ValueError, "qos must be 0, 1 or 2"),
    ((("a", "x"),), (TypeError, ValueError), "qos must be"),
    (("a", 3), ValueError, "qos must be 0, 1 or 2"),
    (("a", -1), ValueError, "qos must be 0, 1 or 2"),
    (("a", "1"), (TypeError, ValueError), "qos must be"),
    (("a", 0, "options"), TypeError, "options must be SubscribeOptions"),
    (("a", 1, SubscribeOptions(qos=1)), ValueError, "qos and options"),
    (("a", 0, None, "properties"), TypeError, "properties must be Properties"),
]

UNSUBSCRIBE_ARGUMENTS = [
    (("a#",), ValueError, "(?i)(topic|filter).*a#"),
    (("",), ValueError, "(?i)(topic|filter)"),
    ((LONG,), ValueError, "(?i)(topic|filter).*65535"),
    (("a\0",), ValueError, r"(?i)(topic|filter).*U\+0000"),
    (([],), ValueError, "(?i)(topic|filter)"),
    ((["fine", "a#"],), ValueError, "(?i)(topic|filter).*a#"),
    ((None,), TypeError, "topic must be str"),
    (([None],), TypeError, "topic must be str"),
    (("a", "properties"), TypeError, "properties must be Properties"),
]

# Only 5.0 has these, and there they are wrong for their packet.
NOT_ALLOWED = Properties(session_expiry_interval=1)
# A property that the packet allows in 5.0.
ALLOWED = Properties(user_property=[("k", "v")])


async def refused(client, call, arguments, error, match):
    with pytest.raises(error, match=match) as caught:
        await getattr(client, call)(*arguments)
    assert type(caught.value) is not NotImplementedError


@pytest.mark.conformance("5.0", "MQTT-1.5.4-1", "MQTT-1.5.4-2", "MQTT-3.3.2-2")
@pytest.mark.conformance("5.0", "MQTT-4.7.1-1", "MQTT-4.7.1-2", "MQTT-4.7.3-1")
@pytest.mark.conformance("5.0", "MQTT-4.7.3-2", "MQTT-4.7.3-3", "MQTT-3.8.3-2")
@pytest.mark.conformance("3.1.1", "MQTT-3.3.2-2", "MQTT-4.7.1-1", "MQTT-4.7.1-2")
@pytest.mark.conformance("3.1.1", "MQTT-4.7.1-3", "MQTT-4.7.3-1", "MQTT-4.7.3-2")
@pytest.mark.conformance("3.1.1", "MQTT-4.7.3-3", "MQTT-3.8.3-3", "MQTT-3.10.3-2")
async def test_wrong_arguments_raise_and_nothing_is_sent(version):
    async def script(peer):
        await accept(peer, version)
        came = await serve_politely(peer, version)
        # The first identifier is still free, and no other packet came.
        assert [
            (first >> 4, body[-2:]) for first, body in came if first >> 4 == PUBLISH
        ]
        assert [first >> 4 for first, _ in came] == [PUBLISH, SUBSCRIBE, UNSUBSCRIBE]
        published, subscribed, unsubscribed = came
        assert published[1].startswith(b"\x00\x04good\x00\x01")
        assert subscribed[1].startswith(b"\x00\x02")
        assert unsubscribed[1].startswith(b"\x00\x03")

    async with serve(script) as server, new_client(server, version) as client:
        for call, table in (
            ("publish", PUBLISH_ARGUMENTS),
            ("subscribe", SUBSCRIBE_ARGUMENTS),
            ("unsubscribe", UNSUBSCRIBE_ARGUMENTS),
        ):
            for arguments, error, match in table:
                await refused(client, call, arguments, error, match)
        for properties in (NOT_ALLOWED, ALLOWED) if version < 5 else (NOT_ALLOWED,):
            word = "(?i)properties|session_expiry_interval"
            arguments = ("a", b"", 1, False, properties)
            await refused(client, "publish", arguments, ValueError, word)
            arguments = ("a", 0, None, properties)
            await refused(client, "subscribe", arguments, ValueError, word)
            await refused(client, "unsubscribe", ("a", properties), ValueError, word)
        assert client.is_connected()
        await client.publish("good", b"", 1)
        await client.subscribe("good")
        await client.unsubscribe("good")


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_the_rules_of_publish_are_the_same_at_every_qos(version, qos):
    async with serve(polite(version)) as server, new_client(server, version) as client:
        for arguments, error, match in TOPIC_NAMES:
            with pytest.raises(error, match=match):
                await client.publish(*arguments, qos=qos)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [SubscribeOptions(no_local=True), SubscribeOptions(1)]
)
async def test_options_are_for_5(options):
    async with serve(polite(4)) as server, new_client(server, 4) as client:
        if options.no_local:
            with pytest.raises(ValueError, match="(?i)option"):
                await client.subscribe("a", options=options)
            with pytest.raises(ValueError, match="(?i)option"):
                await client.subscribe(("a", options))
        else:  # nothing but a QoS: there is nothing that 3.1.1 lacks
            assert await client.subscribe(("a", options)) == (1,)


@pytest.mark.conformance("5.0", "MQTT-3.8.3-4")
@pytest.mark.parametrize(
    ("call", "arguments", "match"),
    [
        ("subscribe", ("$share/g",), r"\$share/g"),
        ("subscribe", ("$share//a",), r"\$share//a"),
        ("subscribe", ("$share/g/",), r"\$share/g/"),
        ("subscribe", ("$share/+/a",), r"\$share/\+/a"),
        ("subscribe", ("$share/#",), r"\$share/#"),
        (
            "subscribe",
            (("$share/g/a", SubscribeOptions(no_local=True)),),
            "(?i)no_local",
        ),
        (
            "subscribe",
            ("a", 0, None, Properties(subscription_identifier=[1, 2])),
            "subscription_identifier",
        ),
        (
            "publish",
            ("a", b"", 0, False, Properties(subscription_identifier=[1])),
            "subscription_identifier",
        ),
        ("publish", ("a", b"", 0, False, Properties(topic_alias=1)), "topic_alias"),
        ("publish", ("a", b"", 1, False, Properties(topic_alias=1)), "topic_alias"),
    ],
)
async def test_what_5_forbids(call, arguments, match):
    async def script(peer):
        await accept(peer, 5)
        assert await serve_politely(peer, 5) == []

    async with serve(script) as server, new_client(server, 5) as client:
        await refused(client, call, arguments, ValueError, match)


TIMEOUTS = [
    ("5", TypeError, "timeout must be"),
    (float("nan"), ValueError, "timeout must"),
]


@pytest.mark.parametrize(("timeout", "error", "match"), TIMEOUTS)
@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("publish", ("a", b"", 1)),
        ("subscribe", ("a",)),
        ("unsubscribe", ("a",)),
    ],
)
async def test_a_wrong_timeout_is_found_before_anything_is_sent(
    call, arguments, timeout, error, match
):
    async def script(peer):
        await accept(peer)
        assert await serve_politely(peer) == []

    async with serve(script) as server, new_client(server) as client:
        with pytest.raises(error, match=match):
            await getattr(client, call)(*arguments, timeout=timeout)


async def test_a_refused_call_frees_its_place(version):
    async with (
        serve(polite(version)) as server,
        new_client(server, version, max_concurrent_outgoing_calls=1) as client,
    ):
        for _ in range(3):
            with pytest.raises(ValueError, match="(?i)topic"):
                await client.publish("#")
            with pytest.raises(ValueError, match="(?i)filter|topic"):
                await client.subscribe("a#")
        await client.publish("a", b"", 1)


async def test_arguments_are_checked_without_a_connection_too():
    client = Client("localhost")
    with pytest.raises(ValueError, match="(?i)topic"):
        await client.publish("#")
    with pytest.raises(TypeError, match="payload"):
        await client.publish("a", object())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="(?i)filter|topic"):
        await client.subscribe("a#")


# --- the constructor -----------------------------------------------------------

PROXY = ProxySettings(proxy_type=2, proxy_addr="localhost")

WRONG_CONSTRUCTIONS: list[tuple[dict[str, Any], Any, str]] = [
    ({"hostname": ""}, ValueError, "hostname"),
    ({"hostname": None}, TypeError, "hostname"),
    ({"hostname": "a\0b"}, ValueError, "hostname"),
    ({"hostname": 5}, TypeError, "hostname"),
    ({"hostname": "[::1]"}, ValueError, "an address, without brackets, not '.::1.'$"),
    ({"hostname": "\u00fc" * 64}, ValueError, "which DNS can't have$"),
    ({"hostname": "\u00fc..de"}, ValueError, "which DNS can't have$"),
    ({"hostname": "\ud800.de"}, ValueError, "which DNS can't have$"),
    (
        {"hostname": "mqtt://broker.example:1884"},
        ValueError,
        r"not a URL: use Client\.from_url\(url\)$",
    ),
    (
        {"hostname": "mqtt://u:sec]ret@["},
        ValueError,
        r"^hostname must be [\w ,]+, not a URL: use Client\.from_url\(url\)$",
    ),
    (
        {"hostname": "broker.example:1884"},
        ValueError,
        "pass hostname='broker.example', port=1884$",
    ),
    ({"server_hostname": "a"}, ValueError, "server_hostname needs tls_context or"),
    (
        {"server_hostname": ".", "tls_params": TLSParameters()},
        ValueError,
        "server_hostname must be a host name",
    ),
    (
        {"server_hostname": b"a", "tls_params": TLSParameters()},
        TypeError,
        "server_hostname must be str",
    ),
    ({"port": 0}, ValueError, "port must be 1 to 65535"),
    ({"port": 65_536}, ValueError, "port must be 1 to 65535"),
    ({"port": -1}, ValueError, "port must be 1 to 65535"),
    ({"port": "1883"}, TypeError, "port must be int"),
    ({"port": None}, TypeError, "port must be int"),
    ({"username": 5}, TypeError, "username"),
    ({"username": "u" * 65_536}, ValueError, "user ?name"),
    ({"username": "u\0"}, ValueError, "user ?name"),
    ({"username": "u", "password": 5}, TypeError, "password"),
    ({"username": "u", "password": "\ud800"}, ValueError, "password"),
    ({"username": "u", "password": "p" * 65_536}, ValueError, "password"),
    ({"password": "p"}, ValueError, "password needs a username"),
    ({"password": "p", "protocol": 3}, ValueError, "password needs a username"),
    ({"identifier": 5}, TypeError, "identifier"),
    ({"identifier": b"\xff"}, ValueError, "identifier must be well-formed UTF-8"),
    ({"identifier": "i" * 65_536}, ValueError, "identifier"),
    ({"identifier": "i\0"}, ValueError, "identifier"),
    ({"protocol": 6}, ValueError, "protocol must be 3"),
    ({"protocol": "5"}, (TypeError, ValueError), "protocol must be 3"),
    ({"clean_session": True, "protocol": 5}, ValueError, "clean_session"),
    ({"clean_session": False}, ValueError, "clean_session=False needs an identifier"),
    ({"clean_start": 2, "protocol": 5}, ValueError, "clean_start"),
    ({"clean_start": "x", "protocol": 5}, ValueError, "clean_start"),
    ({"transport": "udp"}, ValueError, "transport must be"),
    ({"timeout": "10"}, TypeError, "timeout must be"),
    ({"timeout": float("nan")}, ValueError, "timeout must"),
    ({"keepalive": -1}, ValueError, "keep ?alive"),
    ({"keepalive": 65_536}, ValueError, "keep ?alive"),
    ({"keepalive": "60"}, TypeError, "keepalive"),
    ({"keepalive": None}, TypeError, "keepalive"),
    ({"bind_address": 5}, TypeError, "bind_address"),
    ({"bind_port": -1}, ValueError, "bind_port must be 0 to 65535"),
    ({"bind_port": 65_536}, ValueError, "bind_port must be 0 to 65535"),
    ({"bind_port": "1"}, TypeError, "bind_port"),
    ({"max_queued_incoming_messages": "1"}, TypeError, "max_queued_incoming_messages"),
    ({"max_queued_incoming_bytes": 1.5}, TypeError, "max_queued_incoming_bytes"),
    ({"overflow": 1}, TypeError, "overflow must be str or None, not int"),
    ({"overflow": "drop"}, ValueError, 'overflow must be "pause", "drop_oldest"'),
    (
        {"overflow": "drop_oldest", "queue_type": asyncio.LifoQueue},
        ValueError,
        'overflow="drop_oldest" is for .*: leave out queue_type',
    ),
    ({"ack": True}, TypeError, "ack must be str, not bool"),
    ({"ack": "late"}, ValueError, 'ack must be "receive", "processed" or "manual"'),
    ({"max_queued_outgoing_messages": "1"}, TypeError, "max_queued_outgoing_messages"),
    ({"max_inflight_messages": 1.5}, TypeError, "max_inflight_messages"),
    (
        {"max_concurrent_outgoing_calls": "1"},
        TypeError,
        "max_concurrent_outgoing_calls",
    ),
    ({"properties": Properties(receive_maximum=1)}, ValueError, "(?i)properties"),
    ({"properties": "x", "protocol": 5}, TypeError, "properties"),
    (
        {"properties": Properties(topic_alias=1), "protocol": 5},
        ValueError,
        "topic_alias",
    ),
    ({"tls_context": "x"}, TypeError, "tls_context"),
    ({"tls_params": "x"}, TypeError, "tls_params"),
    ({"tls_insecure": True}, ValueError, "tls_insecure needs"),
    (
        {"tls_context": ssl.create_default_context(), "tls_params": TLSParameters()},
        ValueError,
        "tls_context and tls_params",
    ),
    ({"queue_type": 5}, TypeError, "queue_type"),
    ({"socket_options": 5}, TypeError, "socket_options"),
    ({"socket_options": [5]}, TypeError, "socket_options"),
    ({"socket_options": [(1,)]}, (TypeError, ValueError), "socket_options"),
    ({"will": "x"}, TypeError, "will"),
    ({"will": Will("")}, ValueError, "(?i)will"),
    ({"will": Will("a/+")}, ValueError, "(?i)will"),
    ({"will": Will(Wildcard("a/+"))}, ValueError, "(?i)will"),  # type: ignore[arg-type]
    ({"will": Will("#")}, ValueError, "(?i)will"),
    ({"will": Will(LONG)}, ValueError, "(?i)will"),
    ({"will": Will(5)}, TypeError, "(?i)will"),  # type: ignore[arg-type]
    ({"will": Will("a", object())}, TypeError, "payload"),  # type: ignore[arg-type]
    ({"will": Will("a", b"x" * 65_536)}, ValueError, "(?i)will"),
    ({"will": Will("a", b"", 3)}, ValueError, "qos"),
    ({"will": Will("a", properties=ALLOWED)}, ValueError, "(?i)properties"),
    (
        {"will": Will("a", properties=Properties(topic_alias=1)), "protocol": 5},
        ValueError,
        "topic_alias",
    ),
]


@pytest.mark.conformance("3.1.1", "MQTT-3.1.3-7", "MQTT-3.1.2-22", "MQTT-3.1.2-14")
@pytest.mark.conformance("5.0", "MQTT-3.1.2-12")
@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    WRONG_CONSTRUCTIONS,
    ids=[
        f"{number}-{'-'.join(arguments)}"
        for number, (arguments, *_) in enumerate(WRONG_CONSTRUCTIONS)
    ],
)
def test_a_wrong_argument_of_the_constructor_is_named(arguments, error, match):
    with pytest.raises(error, match=match):
        Client(**{"hostname": "localhost", **arguments})


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"websocket_path": 5}, TypeError, "websocket_path must be str"),
        ({"websocket_path": "/a b"}, ValueError, "websocket_path must be a path"),
        ({"websocket_headers": 5}, TypeError, "websocket_headers must be a dict"),
        ({"websocket_headers": {"a": 5}}, TypeError, "the value of 'a' is not"),
        ({"websocket_headers": {"a": "\n"}}, ValueError, "the value of 'a' has"),
    ],
)
def test_a_wrong_option_of_websocket_is_named(arguments, error, match):
    # As in 2.5, other transports ignore it.
    Client("localhost", **arguments)
    with pytest.raises(error, match=match):
        Client("localhost", transport="websockets", **arguments)
    client = Client("localhost", transport="websockets")
    options = {name.removeprefix("websocket_"): arguments[name] for name in arguments}
    with pytest.raises(error, match=match):
        client.set_websocket_options(**options)
    with pytest.raises(ValueError, match="transport 'tcp' has no path and no headers"):
        Client("localhost").set_websocket_options()


@pytest.mark.parametrize(
    "arguments",
    [
        {"tls_context": ssl.create_default_context()},
        {"tls_params": TLSParameters()},
        {"tls_insecure": True},
        {"bind_address": "127.0.0.1"},
        {"bind_port": 5},
        {"socket_options": [(1, 2, 3)]},
        {"socket_options": iter([(1, 2, 3)])},
        {"proxy": PROXY},
    ],
    ids=lambda arguments: "".join(arguments),
)
def test_what_needs_a_socket_is_refused_in_memory(arguments):
    name = "".join(arguments)
    with pytest.raises(ValueError, match=f"{name} can't be combined.*neither a socket"):
        Client("broker", transport="memory", **arguments)


def test_what_says_nothing_of_a_socket_is_fine_in_memory():
    Client(
        "broker",
        transport="memory",
        tls_context=None,
        tls_params=None,
        tls_insecure=False,
        bind_address="",
        bind_port=0,
        socket_options=iter([]),
        proxy=None,
    )


@pytest.mark.parametrize(
    ("identifier", "text"), [(b"", ""), (b"bath", "bath"), ("bath", "bath"), (None, "")]
)
def test_an_identifier_may_be_bytes(identifier, text):
    assert Client("localhost", identifier=identifier).identifier == text


@pytest.mark.parametrize("word", ["secret", b"secret"])
def test_secrets_are_in_no_error_and_no_repr(word):
    client = Client("localhost", username="u", password=word)
    assert "secret" not in repr(client) + repr(vars(client).get("_addresses"))
    with pytest.raises(ValueError, match="password") as caught:
        Client("localhost", password="secret")
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(TLSParameters(keyfile_password="secret"))


# --- the shapes that programs use ----------------------------------------------


def test_host_and_port_are_positional():
    with pytest.raises(TypeError):
        Client("localhost", 1883, "u")  # type: ignore[misc]
    assert isinstance(Client("localhost", 1883), Client)


@pytest.mark.parametrize("protocol", [3, 4, 5, *ProtocolVersion, None])
def test_plain_ints_are_fine(protocol):
    Client("localhost", protocol=protocol, clean_start=3)
    for clean_start in (0, 1):
        Client("localhost", protocol=5, clean_start=clean_start)


@pytest.mark.parametrize(
    "arguments",
    [
        {"identifier": None},
        {"identifier": ""},
        {"username": None, "password": None},
        {"max_queued_outgoing_messages": None},
        {"max_queued_outgoing_messages": 0},
        {"max_queued_incoming_messages": None},
        {"max_queued_incoming_messages": 0},
        {"max_inflight_messages": None},
        {"max_concurrent_outgoing_calls": None},
        {"timeout": None},
        {"timeout": float("inf")},
        {"logger": None},
        {"queue_type": None},
        {"queue_type": asyncio.LifoQueue},
        {"will": None},
        {"properties": None},
        {"clean_session": None},
        {"socket_options": None},
        {"socket_options": []},
        {"tls_context": None, "tls_params": None, "tls_insecure": None},
        {"tls_insecure": False},
        {"proxy": None},
        {"websocket_path": None, "websocket_headers": None},
        {"bind_address": "", "bind_port": 0},
    ],
)
def test_what_says_nothing_is_fine(arguments):
    Client("localhost", **arguments)


async def test_no_calls_at_once_means_any_number():
    async with (
        serve(polite()) as server,
        new_client(server, max_concurrent_outgoing_calls=0) as client,
    ):
        await asyncio.wait_for(client.publish("a", b"", 1), 5)


def test_the_identifier_of_each_version():
    generated = Client("localhost", protocol=3).identifier
    assert len(generated) == 22
    assert generated.isascii()
    assert generated.isalnum()
    assert generated != Client("localhost", protocol=3).identifier
    assert Client("localhost").identifier == ""
    assert Client("localhost", protocol=5).identifier == ""
    for protocol in (3, 4, 5):
        assert (
            Client("localhost", protocol=protocol, identifier="me").identifier == "me"
        )


async def test_positional_calls():
    async def script(peer):
        await accept(peer, 5)
        published = await expect_publish(peer, 5)
        assert published[:4] == ("a", b"1", 0, True)
        assert published.properties == b"\x26\x00\x01k\x00\x01v"
        assert await peer.expect(SUBSCRIBE) == (
            0x82,
            b"\x00\x01\x07\x26\x00\x01k\x00\x01v\x00\x01b\x06",
        )
        peer.packet(0x90, b"\x00\x01\x00\x02")
        assert await peer.expect(UNSUBSCRIBE) == (
            0xA2,
            b"\x00\x02\x07\x26\x00\x01k\x00\x01v\x00\x01b",
        )
        peer.packet(0xB0, b"\x00\x02\x00\x00")
        assert await serve_politely(peer, 5) == []

    async with (
        serve(script) as server,
        Client(server.host, server.port, protocol=5) as client,
    ):
        await client.publish("a", 1, 0, True, ALLOWED)
        options = SubscribeOptions(2, no_local=True)
        assert await client.subscribe("b", 0, options, ALLOWED) == [2]
        await client.unsubscribe("b", ALLOWED)


OWN_NAMES = """
    host hostname port broker client connected is_connected username password logger
    loop state session engine runner target calls inbox name topic timeout keepalive
    protocol will queue transport subscriptions
"""


async def test_a_subclass_may_have_attributes_of_its_own():
    class Mine(Client):
        def __init__(self, *args, **kwargs):
            for name in OWN_NAMES.split():
                setattr(self, name, f"my {name}")
            super().__init__(*args, **kwargs)
            self.extra = "more"

    async with serve(polite()) as server, Mine(server.host, server.port) as client:
        await client.publish("a", b"", 1)
        assert await client.subscribe("a", 1) == (1,)
        for name in set(OWN_NAMES.split()) - {"timeout"}:
            assert getattr(client, name) == f"my {name}"
        assert client.timeout == 10.0
        assert client.extra == "more"


async def test_the_client_is_a_spec_for_mocks():
    client = AsyncMock(spec=Client)
    await client.publish("a", b"")
    client.publish.assert_awaited_once_with("a", b"")
    client = MagicMock(spec=Client)
    async with client:
        await client.subscribe("a")
    for name in ("messages", "identifier", "unsubscribe"):
        assert hasattr(client, name)
    with pytest.raises(AttributeError):
        client.no_such_thing  # noqa: B018


def test_the_message_is_a_spec_for_mocks():
    message = MagicMock(spec=Message)
    for name in ("topic", "payload", "qos", "retain", "mid", "properties"):
        setattr(message, name, name)
        assert getattr(message, name) == name
    with pytest.raises(AttributeError):
        message.no_such_thing  # noqa: B018
    assert isinstance(message, Message)


def test_programs_build_messages():
    message = Message(
        topic="a/b", payload=b"1", qos=1, retain=False, mid=2, properties=None
    )
    assert str(message.topic) == "a/b"
    assert message < Message("a", b"", 0, False, 3, None)


def test_the_paths_that_programs_import():
    import aiomqtt.client as mqtt

    names = """
        Client Message MessagesIterator MqttCodeError MqttError MqttReentrantError
        ProtocolVersion ProxySettings TLSParameters Topic Wildcard Will
    """
    for name in names.split():
        assert getattr(mqtt, name) is getattr(aiomqtt, name)
    assert issubclass(mqtt.MqttConnectError, mqtt.MqttCodeError)
