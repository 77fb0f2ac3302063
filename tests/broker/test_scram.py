"""SCRAM-SHA-256 on the broker's side, with our client and with scramp, another one."""

import asyncio
import logging
from base64 import b64decode
from typing import Any

import pytest
import scramp

from aiomqtt import Client, MqttError, ProtocolVersion, ScramSha256
from aiomqtt.broker import (
    Authentication,
    Broker,
    Limits,
    Refusal,
    ScramCredentials,
    ScramSha256Accounts,
)
from aiomqtt.exceptions import MqttConnectError

# Those of the example in RFC 7677 §3, as PostgreSQL keeps them.
TEXT = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=="
    "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
    ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)
SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")


def credentials_of(password, iterations=4096):
    return ScramCredentials.from_password(password, iterations=iterations)


@pytest.fixture
async def broker():
    """A broker with two users, in memory."""
    accounts = {"user": credentials_of("pencil"), "a,b=c": credentials_of("key", 5000)}
    broker = Broker(
        None, enhanced_authentication=ScramSha256Accounts(accounts), credentials={}
    )
    async with broker:
        yield broker


def client_of(broker, authenticator, **arguments):
    return Client(
        broker.name,
        transport="memory",
        protocol=ProtocolVersion.V5,
        authenticator=authenticator,
        **arguments,
    )


class Scramp:
    """scramp's client, as an authenticator."""

    method = "SCRAM-SHA-256"

    def __init__(self, username, password):
        self._arguments = [self.method], username, password

    async def authenticate(self):
        client = scramp.ScramClient(*self._arguments)
        message = yield client.get_client_first().encode()
        client.set_server_first(message.decode())
        message = yield client.get_client_final().encode()
        client.set_server_final(message.decode())


@pytest.mark.parametrize("kind", [ScramSha256, Scramp])
@pytest.mark.parametrize(
    ("username", "password"), [("user", "pencil"), ("a,b=c", "key")]
)
async def test_a_client_is_authenticated(broker, kind, username, password):
    async with client_of(broker, kind(username, password)) as client:
        [info] = broker.clients.values()
        assert info.username == username
        await client.reauthenticate()
        await client.reauthenticate()
        await client.publish("t", qos=1)


@pytest.mark.parametrize("kind", [ScramSha256, Scramp])
@pytest.mark.parametrize(
    ("username", "password"), [("user", "wrong"), ("nobody", "pencil")]
)
async def test_a_client_is_refused(broker, kind, username, password):
    with pytest.raises(MqttConnectError) as raised:
        await client_of(broker, kind(username, password)).__aenter__()
    assert raised.value.rc == 0x87
    assert raised.value.reason_string == "SCRAM: the proof is wrong"
    assert broker.clients == {}


async def test_a_user_that_does_not_exist_is_asked_like_one_that_does(broker):
    asked = []

    class Recording:
        method = "SCRAM-SHA-256"

        def __init__(self, username):
            self.username = username

        async def authenticate(self):
            message = yield f"n,,n={self.username},r=x".encode()
            asked.append(message.partition(b",")[2])
            raise MqttError("enough")

    for username in ("user", "user", "nobody", "nobody", "somebody"):
        with pytest.raises(MqttError, match="enough"):
            await client_of(broker, Recording(username)).__aenter__()
    user, again, nobody, nobody_again, somebody = asked
    assert user == again
    assert nobody == nobody_again
    assert len({user, nobody, somebody}) == 3
    assert len({len(one) for one in asked}) == 1


async def test_the_user_name_of_the_connect_counts_for_nothing(broker):
    client = client_of(
        broker, ScramSha256("user", "pencil"), username="admin", password="secret"
    )
    async with client:
        [info] = broker.clients.values()
        assert (info.username, info.password) == ("user", None)


async def test_what_a_user_may_do_depends_on_the_user_that_was_authenticated():
    asked = []

    async def authorize(client, action, topic):
        asked.append((client.username, action, topic))
        return True

    accounts = ScramSha256Accounts({"user": credentials_of("pencil")})
    async with (
        Broker(None, enhanced_authentication=accounts, authorize=authorize) as broker,
        client_of(broker, ScramSha256("user", "pencil")) as client,
    ):
        await client.publish("t", qos=1)
    assert asked == [("user", "publish", "t")]


async def test_clients_without_scram_are_refused(broker):
    for arguments in ({}, {"username": "user", "password": "pencil"}):
        with pytest.raises(MqttConnectError):
            await client_of(broker, None, **arguments).__aenter__()


async def test_another_method_is_refused(broker):
    class Other:
        method = "SCRAM-SHA-256-PLUS"

        async def authenticate(self):
            yield b"p=tls-exporter,,n=user,r=x"

    with pytest.raises(MqttConnectError) as raised:
        await client_of(broker, Other()).__aenter__()
    assert raised.value.rc == 0x8C


@pytest.mark.conformance("5.0", "MQTT-4.12.1-2")
@pytest.mark.parametrize("second", [("a,b=c", "key"), ("user", "wrong")])
async def test_a_connected_client_stays_the_same_user(broker, second):
    class Changing:
        method = "SCRAM-SHA-256"

        def __init__(self):
            self.users = [ScramSha256(*second), ScramSha256("user", "pencil")]

        def authenticate(self):
            return self.users.pop().authenticate()

    client = client_of(broker, Changing())
    with pytest.raises(MqttError) as raised:
        async with client:
            await client.reauthenticate()
    assert raised.value.reason_code == 0x87
    assert not client.is_connected()


@pytest.mark.parametrize(
    "steps",
    [
        [None],
        [b""],
        [b"\xff"],
        [b"n,,n=user,r=x", None],
        [b"n,,n=user,r=x", b"c=biws,r=x,p=AAAA"],
        [b"p=tls-unique,,n=user,r=x"],
    ],
    ids=repr,
)
async def test_messages_that_are_wrong(broker, steps, caplog):
    class Wrong:
        method = "SCRAM-SHA-256"

        async def authenticate(self):
            for step in steps:
                yield step

    caplog.set_level(logging.WARNING)
    with pytest.raises(MqttConnectError) as raised:
        await client_of(broker, Wrong()).__aenter__()
    assert raised.value.rc == 0x87
    assert str(raised.value.reason_string).startswith("SCRAM: ")
    # No hook has failed.
    assert caplog.text == ""


async def test_accounts_of_a_function():
    asked = []

    async def find(username):
        asked.append(username)
        await asyncio.sleep(0)
        return credentials_of("pencil") if username == "user" else None

    accounts = ScramSha256Accounts(find, nonce_source=lambda: "nonce")
    async with Broker(None, enhanced_authentication=accounts) as broker:
        async with client_of(broker, ScramSha256("user", "pencil")):
            pass
        with pytest.raises(MqttConnectError):
            await client_of(broker, ScramSha256("nobody", "x")).__aenter__()
    assert asked == ["user", "nobody"]


async def test_a_broker_that_does_not_know_the_password():
    """Its server key is another: to have the stored key is not enough."""
    right, wrong = credentials_of("pencil"), credentials_of("another")
    stolen = ScramCredentials(
        right.salt, right.iterations, right.stored_key, wrong.server_key
    )
    accounts = ScramSha256Accounts({"user": stolen})
    async with Broker(None, enhanced_authentication=accounts) as broker:
        with pytest.raises(MqttError, match="its signature is wrong"):
            await client_of(broker, ScramSha256("user", "pencil")).__aenter__()


async def test_one_hook_for_several_methods():
    accounts = ScramSha256Accounts({"user": credentials_of("pencil")})

    async def both(exchange: Authentication) -> bool | bytes | Refusal:
        if exchange.method == accounts.method:
            return await accounts(exchange)
        exchange.username = "token"
        return exchange.data == b"token"

    class Token:
        method = "token"

        async def authenticate(self):
            yield b"token"

    async with Broker(None, enhanced_authentication=both) as broker:
        authenticators: list[Any] = [ScramSha256("user", "pencil"), Token()]
        for name, authenticator in zip(("user", "token"), authenticators, strict=True):
            async with client_of(broker, authenticator):
                [info] = broker.clients.values()
                assert info.username == name


async def test_a_client_that_does_not_answer_has_to_go():
    class Silent:
        method = "SCRAM-SHA-256"

        async def authenticate(self):
            yield b"n,,n=user,r=x"
            await asyncio.Event().wait()

    accounts = ScramSha256Accounts({"user": credentials_of("pencil")})
    limits = Limits(connect_timeout=0.05)
    async with Broker(None, enhanced_authentication=accounts, limits=limits) as broker:
        with pytest.raises(MqttError, match="lost"):
            async with asyncio.timeout(5):
                await client_of(broker, Silent()).__aenter__()


async def test_nothing_secret_is_logged(caplog):
    caplog.set_level(logging.DEBUG)
    accounts = ScramSha256Accounts({"user": credentials_of("pencil")})
    async with Broker(None, enhanced_authentication=accounts) as broker:
        async with client_of(broker, ScramSha256("user", "pencil")):
            pass
        with pytest.raises(MqttError):
            await client_of(broker, ScramSha256("user", "wrong")).__aenter__()
    assert "Received AUTH from" in caplog.text
    for secret in ("pencil", "n=user", ",i=4096", "c=biws", "v="):
        assert secret not in caplog.text


# --- credentials ---------------------------------------------------------------------


def test_credentials_as_text():
    credentials = ScramCredentials.from_password("pencil", iterations=4096, salt=SALT)
    assert credentials.to_text() == TEXT
    assert ScramCredentials.from_text(TEXT) == credentials
    assert ScramCredentials.from_text(f"{TEXT}\n") == credentials


def test_an_independent_implementation_makes_the_same_credentials():
    mechanism = scramp.ScramMechanism("SCRAM-SHA-256")
    salt, stored, server, iterations = mechanism.make_auth_info(
        "pass\u00adword", iteration_count=5000, salt=SALT
    )
    ours = ScramCredentials.from_password("pass\u00adword", iterations=5000, salt=SALT)
    assert ours == ScramCredentials(salt, iterations, stored, server)


def test_every_account_has_its_own_salt():
    one, other = credentials_of("pencil"), credentials_of("pencil")
    assert one.salt != other.salt
    assert one != other


def test_credentials_are_not_shown():
    assert repr(ScramCredentials.from_text(TEXT)) == "ScramCredentials(iterations=4096)"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SCRAM-SHA-256",
        "SCRAM-SHA-1$4096:c2FsdA==$AAAA:AAAA",
        "SCRAM-SHA-256$4096:c2FsdA==$AAAA:AAAA",
        "SCRAM-SHA-256$4096:c2FsdA==$%:AAAA",
        TEXT.replace("4096", "4095"),
        TEXT.replace("4096", "many"),
        TEXT.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
    ],
)
def test_text_that_is_wrong(text):
    with pytest.raises(ValueError, match="SCRAM-SHA-256"):
        ScramCredentials.from_text(text)


def test_credentials_that_are_wrong():
    for arguments in (
        (b"", 4096, bytes(32), bytes(32)),
        (b"salt", 4095, bytes(32), bytes(32)),
        (b"salt", 4096, bytes(31), bytes(32)),
        (b"salt", 4096, bytes(32), bytes(33)),
    ):
        with pytest.raises(ValueError, match="must"):
            ScramCredentials(*arguments)
    with pytest.raises(ValueError, match="password must not have control"):
        ScramCredentials.from_password("\0")
    with pytest.raises(ValueError, match="4096"):
        ScramCredentials.from_password("pencil", iterations=1)
