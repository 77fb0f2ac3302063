"""SCRAM-SHA-256 on the client's side, with scramp, an independent server."""

import asyncio
import logging
import threading
import traceback

import pytest
import scramp

from aiomqtt import Client, MqttError, Properties, ProtocolVersion, ScramSha256
from aiomqtt.properties import ReasonCode
from aiomqtt.protocol.packets import Connack, Signal
from aiomqtt.protocol.scram import derive_keys
from aiomqtt.standard.tables import PacketType
from aiomqtt.testing import AUTH, CONNACK, CONNECT, DISCONNECT, PUBLISH, Script

METHOD = {"authentication_method": "SCRAM-SHA-256"}
OWN = "rOprNGfwEbeRWgbNEkqO"
ITERATIONS = 4096


class Server:
    """scramp's server, as the broker of a script."""

    def __init__(self, password="pencil", iterations=ITERATIONS):
        mechanism = scramp.ScramMechanism("SCRAM-SHA-256")
        account = mechanism.make_auth_info(password, iteration_count=iterations)
        self.asked_for: list[str] = []

        def find(username):
            self.asked_for.append(username)
            return account

        self._new = lambda: mechanism.make_server(find)

    def first(self, packet):
        self._server = self._new()
        self._server.set_client_first(packet.properties.authentication_data.decode())
        return self._auth(0x18, self._server.get_server_first())

    def final(self, packet):
        """Answer the final message of a client that is connecting."""
        properties = self._final(packet).properties
        return Connack(False, ReasonCode(0), properties)

    def final_again(self, packet):
        """Answer the final message of a client that is connected."""
        return self._final(packet)

    def _final(self, packet):
        self._server.set_client_final(packet.properties.authentication_data.decode())
        return self._auth(0, self._server.get_server_final())

    def _auth(self, code, data):
        return Signal(
            PacketType.AUTH,
            code,
            Properties(authentication_data=data.encode(), **METHOD),
        )


def client_of(script, authenticator=None, **arguments):
    if authenticator is None:
        authenticator = ScramSha256("user", "pencil")
    return Client(
        script.name,
        transport="memory",
        protocol=ProtocolVersion.V5,
        authenticator=authenticator,
        **arguments,
    )


def with_data(data, **fields):
    return {**fields, "properties": {"authentication_data": data, **METHOD}}


async def fails(script, text, authenticator=None):
    async with script:
        with pytest.raises(MqttError, match=text) as raised:
            await client_of(script, authenticator).__aenter__()
    return raised.value


# --- an independent server ------------------------------------------------------------


@pytest.mark.parametrize(
    ("username", "password"),
    [("user", "pencil"), ("a,b=c", "p,=%"), ("\u2168", "\u00aapass\u00adword\u00a0")],
    ids=["ASCII", "escaped", "SASLprep"],
)
async def test_an_independent_server(username, password):
    server = Server(password)
    script = Script()
    script.expect(CONNECT, **METHOD).reply_by(server.first)
    script.expect(AUTH, reason_code=0x18, **METHOD).reply_by(server.final)
    script.expect(AUTH, reason_code=0x19, **METHOD).reply_by(server.first)
    script.expect(AUTH, reason_code=0x18, **METHOD).reply_by(server.final_again)
    script.expect(PUBLISH)
    script.expect(DISCONNECT, reason_code=0)
    authenticator = ScramSha256(username, password)
    async with script, client_of(script, authenticator) as client:
        await client.reauthenticate()
        await client.publish("t")
    expected = {"\u2168": "IX"}.get(username, username)
    assert server.asked_for == [expected] * 2


async def test_the_vectors_of_the_standard():
    # RFC 7677 §3
    nonce = OWN + "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    script = Script()
    script.expect(CONNECT, authentication_data=b"n,,n=user,r=" + OWN.encode())
    script.send(
        AUTH,
        **with_data(
            f"r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode(), reason_code=0x18
        ),
    )
    proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    script.expect(AUTH, authentication_data=f"c=biws,r={nonce},p={proof}".encode())
    script.reply(
        CONNACK, **with_data(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    )
    script.expect(DISCONNECT)
    authenticator = ScramSha256("user", "pencil", nonce_source=lambda: OWN)
    async with script, client_of(script, authenticator):
        pass


async def test_the_keys_are_computed_once_and_in_a_thread(monkeypatch):
    threads = []

    def recorded(*arguments):
        threads.append(threading.current_thread())
        return derive_keys(*arguments)

    monkeypatch.setattr("aiomqtt.client.scram.derive_keys", recorded)
    server = Server()
    script = Script()
    for _ in range(2):
        script.expect(CONNECT).reply_by(server.first)
        script.expect(AUTH).reply_by(server.final)
        script.expect(DISCONNECT).close()
    async with script:
        client = client_of(script)
        for _ in range(2):
            async with client:
                pass
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


async def test_every_authentication_has_its_own_nonce():
    nonces = set()

    def refuse(packet):
        nonces.add(packet.properties.authentication_data)
        return Connack(False, ReasonCode(0x87))

    script = Script()
    for _ in range(3):
        script.expect(CONNECT).reply_by(refuse).close()
    authenticator = ScramSha256("user", "pencil")
    async with script:
        for _ in range(3):
            with pytest.raises(MqttError):
                await client_of(script, authenticator).__aenter__()
    assert len(nonces) == 3


# --- what is wrong --------------------------------------------------------------------


async def test_a_broker_that_does_not_know_the_password():
    server = Server()
    script = Script()
    script.expect(CONNECT).reply_by(server.first)
    script.expect(AUTH).reply(CONNACK, **with_data(b"v=" + b"A" * 43 + b"="))
    script.send(PUBLISH, topic="t", payload=b"from an impostor")
    script.expect(DISCONNECT, reason_code=0x80)
    error = await fails(script, "its signature is wrong: it does not know the password")
    assert error.reason_code == 0x80
    assert isinstance(error.__cause__, MqttError)


async def test_a_broker_that_skips_the_proof():
    script = Script()
    script.expect(CONNECT).reply(CONNACK, **with_data(b"v=" + b"A" * 43 + b"="))
    script.expect(DISCONNECT, reason_code=0x80)
    await fails(script, "does not begin with r, s, i")


async def test_a_broker_that_accepts_the_client_before_it_proved_who_it_is():
    script = Script()

    def accept(packet):
        nonce = packet.properties.authentication_data.partition(b"r=")[2]
        data = b"r=" + nonce + b"x,s=c2FsdA==,i=4096"
        return Connack(
            False, ReasonCode(0), Properties(authentication_data=data, **METHOD)
        )

    script.expect(CONNECT).reply_by(accept)
    script.expect(DISCONNECT, reason_code=0x80)
    await fails(script, "before its last step")


async def test_too_many_iterations_are_not_computed(monkeypatch):
    monkeypatch.setattr("aiomqtt.client.scram.derive_keys", None)
    for iterations in (100_000, 1000):
        script = Script()
        if iterations < ITERATIONS:
            data = f"r={OWN}x,s=c2FsdA==,i={iterations}".encode()
            script.expect(CONNECT).send(AUTH, **with_data(data, reason_code=0x18))
        else:
            script.expect(CONNECT).reply_by(Server(iterations=iterations).first)
        script.expect(DISCONNECT, reason_code=0x80)
        authenticator = ScramSha256(
            "user",
            "pencil",
            maximum_iterations=20_000,
            nonce_source=lambda: OWN,
        )
        await fails(script, f"4096 to 20000, not {iterations}", authenticator)


async def test_a_wrong_password():
    server = Server("another")

    def refuse(packet):
        with pytest.raises(scramp.ScramException):
            server.final(packet)
        return Connack(False, ReasonCode(0x87))

    script = Script()
    script.expect(CONNECT).reply_by(server.first)
    script.expect(AUTH).reply_by(refuse)
    script.expect_end()
    error = await fails(script, "Not authorized")
    assert error.reason_code == 0x87


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("user", "\0"), ValueError, "password must not have control"),
        (("user", "key\U0001f511"), ValueError, "password must not have characters"),
        (("user", ""), ValueError, "password must not be empty"),
        (("", "key"), ValueError, "username must not be empty"),
        (("user\n", "key"), ValueError, "username must not have control"),
        ((None, "key"), TypeError, "username must be str, not NoneType"),
        (("user", b"key"), TypeError, "password must be str, not bytes"),
    ],
)
def test_wrong_arguments(arguments, error, text):
    with pytest.raises(error, match=text) as raised:
        ScramSha256(*arguments)
    assert "key" not in str(raised.value)


def test_a_maximum_below_the_minimum():
    with pytest.raises(ValueError, match="at least 4096"):
        ScramSha256("user", "key", maximum_iterations=4095)


async def test_a_nonce_that_no_message_carries():
    authenticator = ScramSha256("user", "pencil", nonce_source=lambda: "a,b")
    error = await fails(Script(), "the authenticator failed: ValueError", authenticator)
    assert "printable ASCII" in str(error.__cause__)


# --- secrets --------------------------------------------------------------------------


async def test_nothing_secret_is_shown(caplog):
    caplog.set_level(logging.DEBUG)
    server = Server("hush-hush")
    script = Script()
    script.expect(CONNECT).reply_by(server.first)
    script.expect(AUTH).reply(CONNACK, **with_data(b"v=AAAA"))
    script.expect(DISCONNECT)
    authenticator = ScramSha256("user", "hush-hush")
    async with script:
        client = client_of(script, authenticator)
        with pytest.raises(MqttError) as raised:
            await client.__aenter__()
    shown = caplog.text + "".join(traceback.format_exception(raised.value))
    assert "AUTH" in shown
    for secret in ("hush-hush", "n=user", ",i=4096", "c=biws"):
        assert secret not in shown
    assert repr(authenticator) == "ScramSha256('user')"


async def test_a_cancelled_computation_leaves_nothing_behind():
    server = Server(iterations=200_000)
    script = Script()
    asked = asyncio.Event()
    script.expect(CONNECT).reply_by(server.first).call(asked.set)
    script.expect_end()
    async with script:
        entering = asyncio.create_task(client_of(script).__aenter__())
        await asked.wait()
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
