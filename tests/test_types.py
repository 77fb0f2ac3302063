"""The plain values that a client is configured with."""

import inspect
import ssl
import typing

import pytest

from aiomqtt import Client, ProxySettings, TLSParameters, Will

# --- Will ----------------------------------------------------------------------


def test_a_will():
    will = Will("a/b", payload=b"bye", qos=1, retain=True)
    assert (will.topic, will.payload, will.qos) == ("a/b", b"bye", 1)
    assert (will.retain, will.properties) == (True, None)
    assert Will("a", "b", 1, True, None) == Will("a", "b", qos=1, retain=True)


def test_the_defaults_of_a_will():
    will = Will(topic="a")
    assert (will.payload, will.qos, will.retain, will.properties) == (
        None,
        0,
        False,
        None,
    )


def test_a_will_is_frozen():
    with pytest.raises(AttributeError):
        Will("a").topic = "b"  # type: ignore[misc]


# --- TLSParameters -------------------------------------------------------------


def test_tls_parameters():
    parameters = TLSParameters(
        "ca.pem", "cert.pem", "key.pem", ssl.CERT_NONE, None, "ALL", "secret"
    )
    assert parameters.ca_certs == "ca.pem"
    assert parameters.certfile == "cert.pem"
    assert parameters.keyfile == "key.pem"
    assert parameters.cert_reqs is ssl.CERT_NONE
    assert parameters.tls_version is None
    assert parameters.ciphers == "ALL"
    assert parameters.keyfile_password == "secret"


def test_tls_parameters_are_optional_frozen_and_keep_their_secret():
    assert TLSParameters() == TLSParameters(*[None] * 7)
    parameters = TLSParameters(keyfile_password="secret")
    assert "secret" not in repr(parameters)
    with pytest.raises(AttributeError):
        parameters.ca_certs = "x"  # type: ignore[misc]


# --- ProxySettings -------------------------------------------------------------


def test_proxy_settings_by_keyword():
    settings = ProxySettings(proxy_type=2, proxy_addr="localhost", proxy_port=1080)
    assert settings.proxy_args == {
        "proxy_type": 2,
        "proxy_addr": "localhost",
        "proxy_rdns": True,
        "proxy_username": None,
        "proxy_password": None,
        "proxy_port": 1080,
    }
    with pytest.raises(TypeError):
        ProxySettings(2, "localhost")  # type: ignore[misc]
    assert "secret" not in repr(
        ProxySettings(proxy_type=2, proxy_addr="a", proxy_password="secret")
    )


# --- the shape of aiomqtt 2.5 --------------------------------------------------


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (Will, "topic payload qos retain properties"),
        (
            TLSParameters,
            "ca_certs certfile keyfile cert_reqs tls_version ciphers keyfile_password",
        ),
        (
            ProxySettings,
            "proxy_type proxy_addr proxy_rdns proxy_username proxy_password proxy_port",
        ),
        (Client.publish, "self topic payload qos retain properties timeout"),
        (Client.subscribe, "self topic qos options properties timeout"),
        (Client.unsubscribe, "self topic properties timeout"),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_the_parameters_are_those_of_2_5(function, names):
    parameters = list(inspect.signature(function).parameters.values())
    # Programs may pass more in the same way; none is lost.
    known = [parameter.name for parameter in parameters][: len(names.split())]
    assert [name for name in known if name != "timeout"] == [
        name for name in names.split() if name != "timeout"
    ]
    if "timeout" in names:
        assert (
            inspect.signature(function).parameters["timeout"].kind
            is inspect.Parameter.KEYWORD_ONLY
        )


CLIENT_KEYWORDS = """
    username password logger identifier queue_type protocol will clean_session
    transport timeout keepalive bind_address bind_port clean_start
    max_queued_incoming_messages max_queued_outgoing_messages max_inflight_messages
    max_concurrent_outgoing_calls properties tls_context tls_params tls_insecure
    proxy socket_options websocket_path websocket_headers
"""


def test_the_parameters_of_client_are_those_of_2_5():
    parameters = inspect.signature(Client).parameters
    assert list(parameters)[:2] == ["hostname", "port"]
    assert parameters["port"].default == 1883
    assert parameters["keepalive"].default == 60
    assert parameters["bind_port"].default == 0
    assert parameters["bind_address"].default == ""
    assert parameters["transport"].default == "tcp"
    assert set(CLIENT_KEYWORDS.split()) <= set(parameters)
    for name in list(parameters)[2:]:
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default is not inspect.Parameter.empty


@pytest.mark.parametrize(
    "function",
    [Client.__init__, Client.publish, Client.subscribe, Client.unsubscribe, Will],
    ids=lambda function: function.__qualname__,
)
def test_the_annotations_can_be_read_at_run_time(function):
    assert typing.get_type_hints(function)
