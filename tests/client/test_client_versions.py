"""Arguments that the chosen version of MQTT does not have are refused, not ignored."""

from typing import Any

import pytest

from aiomqtt import Client, Properties, SubscribeOptions, Will
from tests.peer import serve
from tests.raw_scripts import accept, new_client, serve_politely

USER_PROPERTY = Properties(user_property=[("k", "v")])

# Arguments of `Client`, and the versions that can honour them.
ARGUMENTS = [
    ({"clean_start": 3}, (3, 4, 5), ""),
    ({"clean_start": True}, (5,), "clean_start is for MQTT 5.0.*clean_session"),
    ({"clean_start": False}, (5,), "clean_start is for MQTT 5.0.*clean_session"),
    ({"clean_session": None}, (3, 4, 5), ""),
    ({"clean_session": True}, (3, 4), "clean_session is for MQTT 3.1 and 3.1.1"),
    (
        {"clean_session": False, "identifier": "me"},
        (3, 4),
        "clean_session is for MQTT 3.1 and 3.1.1",
    ),
    # 3.1 has one generated.
    ({"clean_session": False}, (3,), "clean_session"),
    ({"properties": None}, (3, 4, 5), ""),
    # It says nothing.
    ({"properties": Properties()}, (3, 4, 5), ""),
    ({"properties": USER_PROPERTY}, (5,), "properties.*5.0.*user_property"),
    (
        {"properties": Properties(session_expiry_interval=60)},
        (5,),
        "properties.*5.0.*session_expiry_interval",
    ),
    ({"will": Will("t", b"bye", 2, True)}, (3, 4, 5), ""),
    ({"will": Will("t", properties=Properties())}, (3, 4, 5), ""),
    ({"will": Will("t", properties=USER_PROPERTY)}, (5,), "properties.*5.0"),
    (
        {"will": Will("t", properties=Properties(will_delay_interval=5))},
        (5,),
        "properties.*5.0.*will_delay_interval",
    ),
    ({"username": "me", "password": "word"}, (3, 4, 5), ""),
    ({"username": "me"}, (3, 4, 5), ""),
    ({"password": "word"}, (5,), "password needs a username below MQTT 5.0"),
    ({"identifier": None}, (3, 4, 5), ""),
    ({"identifier": "me"}, (3, 4, 5), ""),
    ({"keepalive": 0, "max_inflight_messages": 1}, (3, 4, 5), ""),
]


@pytest.mark.parametrize(
    ("arguments", "versions", "match"), ARGUMENTS, ids=lambda cell: str(cell)
)
@pytest.mark.parametrize("protocol", [3, 4, 5, None])
def test_the_constructor_refuses_what_the_version_lacks(
    protocol, arguments, versions, match
):
    if (protocol or 4) in versions:
        Client("localhost", protocol=protocol, **arguments)
    else:
        with pytest.raises(ValueError, match=match):
            Client("localhost", protocol=protocol, **arguments)


# Calls, and whether they are for 5.0 only.
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], bool]] = [
    ("publish", ("t", b"", 1, True), {}, False),
    ("publish", ("t", b"", 1), {"properties": None}, False),
    ("publish", ("t", b"", 1), {"properties": Properties()}, False),
    ("publish", ("t", b"", 1), {"properties": USER_PROPERTY}, True),
    ("publish", ("t", b""), {"properties": Properties(content_type="a")}, True),
    ("subscribe", ("t", 1), {}, False),
    ("subscribe", ("t",), {"properties": Properties()}, False),
    ("subscribe", ("t",), {"properties": USER_PROPERTY}, True),
    # Nothing but a QoS, which each version has.
    ("subscribe", ("t",), {"options": SubscribeOptions(1)}, False),
    ("subscribe", ("t",), {"options": SubscribeOptions(no_local=True)}, True),
    (
        "subscribe",
        ("t",),
        {"options": SubscribeOptions(retain_as_published=True)},
        True,
    ),
    ("subscribe", ("t",), {"options": SubscribeOptions(retain_handling=2)}, True),
    ("subscribe", (("t", SubscribeOptions(retain_handling=1)),), {}, True),
    ("subscribe", ([("t", 1), ("u", SubscribeOptions(no_local=True))],), {}, True),
    ("unsubscribe", ("t",), {}, False),
    ("unsubscribe", ("t",), {"properties": Properties()}, False),
    ("unsubscribe", ("t",), {"properties": USER_PROPERTY}, True),
]


async def test_calls_refuse_what_the_version_lacks(version):
    """And send nothing then."""
    is_refused = [is_for_5 and version < 5 for *_, is_for_5 in CALLS]

    async def script(peer):
        await accept(peer, version)
        assert len(await serve_politely(peer, version)) == is_refused.count(False)

    async with serve(script) as server, new_client(server, version) as client:
        for (name, arguments, keywords, _), refused in zip(
            CALLS, is_refused, strict=True
        ):
            call = getattr(client, name)
            if refused:
                with pytest.raises(ValueError, match="5.0"):
                    await call(*arguments, **keywords)
            else:
                await call(*arguments, **keywords)
