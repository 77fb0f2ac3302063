"""User names and passwords, against a broker that wants them."""

from typing import Any

import pytest

import aiomqtt
from tests.integration.programs import client_of, payloads, unique
from tests.own_broker import OwnBroker

# The code of the CONNACK: 3.1.1 §3.2.2.3, 5.0 §3.2.2.2.
NOT_AUTHORIZED = 0x87
# Brokers tell it from a wrong name or password, or don't.
BAD_USER_NAME_OR_PASSWORD = 0x86

WRONG: dict[str, dict[str, Any]] = {
    "no user name": {},
    "a wrong user name": {"username": "nobody", "password": "p"},
    "a wrong password": {"username": "u", "password": "wrong-secret"},
    "no password": {"username": "u"},
    "an empty password": {"username": "u", "password": ""},
}


async def test_the_right_password_connects(password_broker, version):
    topic = unique("password")
    client = client_of(password_broker, version, username="u", password="p")
    async with client:
        await client.subscribe(topic)
        await client.publish(topic, b"let in")
        assert await payloads(client, 1) == [b"let in"]


@pytest.mark.parametrize("what", WRONG)
async def test_a_refusal_comes_with_its_code(password_broker, version, what):
    client = client_of(password_broker, version, **WRONG[what])
    with pytest.raises(aiomqtt.exceptions.MqttConnectError) as caught:
        await client.__aenter__()
    error = caught.value
    code = NOT_AUTHORIZED
    if isinstance(password_broker, OwnBroker) and "username" in WRONG[what]:
        code = BAD_USER_NAME_OR_PASSWORD
    assert error.rc == code
    assert error.rc.value == code
    assert isinstance(error, aiomqtt.MqttCodeError)
    text = str(error)
    # Word for word what aiomqtt 2.5 said; then the broker's own words, if any.
    assert text.partition(": ")[0] in (
        "[code:134] Bad user name or password",
        "[code:135] Not authorized",
    )
    assert version == 5 or ": " not in text
    notes = "".join(error.__notes__)
    assert password_broker.address in notes
    assert "wrong-secret" not in text + notes + repr(error) + repr(client)
    assert not client.is_connected()


async def test_new_credentials_hold_when_it_is_entered_again(password_broker, version):
    topic = unique("password")
    client = client_of(password_broker, version, username="u", password="old")
    for _ in range(2):
        with pytest.raises(aiomqtt.exceptions.MqttConnectError):
            await client.__aenter__()
    client.set_credentials("u", "p")
    async with client:
        await client.subscribe(topic)
        await client.publish(topic, b"let in")
        assert await payloads(client, 1) == [b"let in"]
    client.set_credentials(None)
    with pytest.raises(aiomqtt.exceptions.MqttConnectError):
        await client.__aenter__()


async def test_new_credentials_leave_the_connection_alone(password_broker, version):
    client = client_of(password_broker, version, username="u", password="p")
    async with client:
        client.set_credentials("u", "changed")
        await client.publish(unique("password"), b"still there", 1)
    with pytest.raises(aiomqtt.exceptions.MqttConnectError):
        await client.__aenter__()


async def test_a_password_without_a_user_name(password_broker):
    """Allowed in 5.0 (§3.1.2.9); the broker then decides, and this one refuses."""
    client = client_of(password_broker, 5, password="p")
    with pytest.raises(aiomqtt.exceptions.MqttConnectError) as caught:
        await client.__aenter__()
    assert caught.value.rc == 0x87
