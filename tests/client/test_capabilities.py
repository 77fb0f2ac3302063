"""What the broker offers, as its CONNACK says (MQTT 5.0 §3.2.2.3)."""

import dataclasses

import pytest

from aiomqtt import Capabilities, Client, Properties
from tests.peer import serve
from tests.raw_scripts import accept, fails, goodbye, new_client, polite, text, within

DEFAULTS = Capabilities(
    receive_maximum=65_535,
    maximum_qos=2,
    retain_available=True,
    maximum_packet_size=None,
    topic_alias_maximum=0,
    wildcard_subscription_available=True,
    subscription_identifier_available=True,
    shared_subscription_available=True,
    server_keep_alive=60,
    session_expiry_interval=0,
    assigned_client_identifier=None,
    response_information=None,
)
BELOW_5 = dataclasses.replace(
    DEFAULTS,
    subscription_identifier_available=False,
    shared_subscription_available=False,
)
# Properties of a CONNACK, and what they change.
SAID = {
    "nothing": (b"", {}),
    "limits": (
        b"\x21\x00\x0a\x24\x01\x25\x00\x27\x00\x00\x10\x00\x22\x00\x05",
        {
            "receive_maximum": 10,
            "maximum_qos": 1,
            "retain_available": False,
            "maximum_packet_size": 4096,
            "topic_alias_maximum": 5,
        },
    ),
    "no QoS but 0": (b"\x24\x00", {"maximum_qos": 0}),
    "no subscriptions of some kinds": (
        b"\x28\x00\x29\x00\x2a\x00",
        {
            "wildcard_subscription_available": False,
            "subscription_identifier_available": False,
            "shared_subscription_available": False,
        },
    ),
    "all of them": (b"\x25\x01\x28\x01\x29\x01\x2a\x01", {}),
    "times": (
        b"\x13\x00\x00\x11\x00\x00\x00\x07",
        {"server_keep_alive": 0, "session_expiry_interval": 7},
    ),
    "names": (
        b"\x12" + text("auto-1") + b"\x1a" + text("replies/auto-1"),
        {
            "assigned_client_identifier": "auto-1",
            "response_information": "replies/auto-1",
        },
    ),
}


@pytest.mark.parametrize(("properties", "changes"), SAID.values(), ids=SAID)
async def test_what_the_broker_does_not_mention_has_its_default(properties, changes):
    asked = Properties(request_response_information=1)
    script = polite(5, properties=properties)
    async with serve(script) as server:
        client = new_client(server, 5, properties=asked)
        assert client.capabilities is None
        async with client:
            assert client.capabilities == dataclasses.replace(DEFAULTS, **changes)


@pytest.mark.parametrize("level", [3, 4])
@pytest.mark.parametrize("is_clean", [True, False])
async def test_below_5_only_what_those_versions_have_is_available(level, is_clean):
    never = 0 if is_clean else 0xFFFF_FFFF
    expected = dataclasses.replace(BELOW_5, session_expiry_interval=never)
    async with serve(polite(level)) as server:
        client = new_client(
            server, level, identifier="me", clean_session=is_clean, keepalive=60
        )
        async with client:
            assert client.capabilities == expected
        assert client.capabilities == expected


async def test_what_the_client_asked_for_holds_where_the_broker_says_nothing():
    properties = Properties(session_expiry_interval=99)
    async with (
        serve(polite(5)) as server,
        new_client(server, 5, properties=properties, keepalive=7) as client,
    ):
        assert client.capabilities == dataclasses.replace(
            DEFAULTS, server_keep_alive=7, session_expiry_interval=99
        )


async def test_they_are_those_of_the_last_broker_that_accepted():
    async def first(peer):
        await accept(peer, 5, properties=b"\x21\x00\x0a")
        await goodbye(peer)

    async def refuses(peer):
        await accept(peer, 5, code=0x88, properties=b"")
        peer.close()

    async def second(peer):
        await accept(peer, 5, properties=b"\x22\x00\x01")
        await goodbye(peer)

    async with serve(first, refuses, second) as server:
        client = new_client(server, 5)
        async with client:
            pass
        await fails(client)
        assert client.capabilities is not None
        assert client.capabilities.receive_maximum == 10
        await within(client.__aenter__())
        assert client.capabilities.receive_maximum == 65_535
        assert client.capabilities.topic_alias_maximum == 1
        await within(client.__aexit__(None, None, None))


def test_they_are_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULTS.maximum_qos = 0  # type: ignore[misc]
    assert Client("localhost").capabilities is None
