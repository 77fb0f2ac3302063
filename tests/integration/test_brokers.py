"""The brokers of the fixtures, spoken to by paho-mqtt instead of our client."""

import socket
import ssl
import time
from collections.abc import Callable

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.brokers import answers_connect


def new_client(version: int = 4, **options) -> paho.Client:
    return paho.Client(
        CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion(version), **options
    )


def run(client: paho.Client, until: Callable[[], bool]) -> None:
    """Run the client in this thread until the condition holds."""
    deadline = time.monotonic() + 5
    while not until():
        assert time.monotonic() < deadline, "it took too long"
        client.loop(timeout=0.05)


def connect(client: paho.Client, port: int) -> int:
    """Connect and return the code of the CONNACK."""
    codes: list[int] = []
    client.on_connect = lambda *event: codes.append(event[3].value)
    client.connect("127.0.0.1", port)
    run(client, lambda: bool(codes))
    return codes[0]


def disconnect(client: paho.Client) -> None:
    client.disconnect()
    client.loop(timeout=0.05)
    client._reset_sockets()  # paho leaves these to the garbage collector


def test_messages_go_round_in_every_version(mosquitto, version):
    received: list[bytes] = []
    client = new_client(version)
    client.on_message = lambda *event: received.append(event[2].payload)
    granted: list[object] = []
    client.on_subscribe = lambda *event: granted.append(event)
    assert connect(client, mosquitto.port) == 0
    client.subscribe(f"round/{version}", 2)
    run(client, lambda: bool(granted))
    client.publish(f"round/{version}", b"x", 2)
    run(client, lambda: received == [b"x"])
    disconnect(client)


@pytest.mark.parametrize(("password", "code"), [("p", 0), ("wrong", 135), (None, 135)])
def test_the_password_broker_wants_the_password(password_mosquitto, password, code):
    client = new_client()
    if password is not None:
        client.username_pw_set(password_mosquitto.username, password)
    # paho gives 3.1.1's code 5 as the reason code of 5.0.
    assert connect(client, password_mosquitto.port) == code
    disconnect(client)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_the_tls_certificate_is_for_localhost(mosquitto, name):
    context = ssl.create_default_context(cafile=mosquitto.ca_file)
    with (
        socket.create_connection(
            (mosquitto.host, mosquitto.tls_port), timeout=5
        ) as raw,
        context.wrap_socket(raw, server_hostname=name) as tls,
    ):
        tls.sendall(bytes.fromhex("100d00044d5154540402000a000178"))
        assert tls.recv(4) == b"\x20\x02\x00\x00"


def test_the_other_tls_certificate_is_for_another_name(mosquitto):
    context = ssl.create_default_context(cafile=mosquitto.ca_file)
    with (
        socket.create_connection(
            (mosquitto.host, mosquitto.wrong_name_port), timeout=5
        ) as raw,
        pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"),
    ):
        context.wrap_socket(raw, server_hostname="localhost")


def test_mutual_tls_takes_the_clients_certificate(mosquitto, certificates):
    client = new_client()
    client.tls_set(
        str(mosquitto.ca_file),
        str(certificates.client.certificate),
        str(certificates.client.key),
        keyfile_password=certificates.client_key_password,
    )
    assert connect(client, mosquitto.mutual_tls_port) == 0
    disconnect(client)


def test_a_private_broker_remembers_across_a_crash(private_mosquitto):
    port = private_mosquitto.port
    client = new_client(client_id="keeper", clean_session=False)
    granted: list[object] = []
    client.on_subscribe = lambda *event: granted.append(event)
    connect(client, port)
    client.subscribe("kept", 1)
    run(client, lambda: bool(granted))
    disconnect(client)

    other = new_client()
    acknowledged: list[object] = []
    other.on_publish = lambda *event: acknowledged.append(event)
    connect(other, port)
    other.publish("kept", b"after the crash", 1)
    run(other, lambda: bool(acknowledged))
    disconnect(other)

    private_mosquitto.kill()
    assert not answers_connect("127.0.0.1", port)
    private_mosquitto.start()

    received: list[bytes] = []
    client.on_message = lambda *event: received.append(event[2].payload)
    connect(client, port)
    run(client, lambda: bool(received))
    assert received == [b"after the crash"]
    disconnect(client)


def test_a_paused_broker_is_silent(private_mosquitto):
    private_mosquitto.pause()
    assert not answers_connect("127.0.0.1", private_mosquitto.port)
    private_mosquitto.resume()
    assert answers_connect("127.0.0.1", private_mosquitto.port)
