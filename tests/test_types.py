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


@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        ({"ca_certs": 1}, TypeError, "ca_certs must be str or PathLike or None, not"),
        ({"certfile": b"x"}, TypeError, "certfile must be str"),
        ({"keyfile": True}, TypeError, "keyfile must be str"),
        ({"ciphers": ["ALL"]}, TypeError, "ciphers must be str or None, not list"),
        ({"keyfile_password": 1}, TypeError, "keyfile_password must be str or bytes"),
        ({"cert_reqs": 3}, ValueError, "cert_reqs must be ssl.CERT_NONE, .*, not 3$"),
        ({"cert_reqs": "none"}, ValueError, "cert_reqs must be ssl.CERT_NONE"),
        # Not to be taken for "any version".
        (
            {"tls_version": ssl.TLSVersion.TLSv1_3},
            ValueError,
            "^tls_version must be a constant .*TLSv1_3.* with its minimum_version$",
        ),
        ({"tls_version": ssl.PROTOCOL_TLS_SERVER}, ValueError, "for clients"),
        ({"tls_version": "1.2"}, ValueError, "tls_version must be a constant"),
    ],
)
def test_parameters_that_mean_nothing(values, error, match):
    with pytest.raises(error, match=match):
        TLSParameters(**values)


def test_protocols_to_offer():
    names = ["x-amzn-mqtt-ca", "mqtt"]
    parameters = TLSParameters(alpn_protocols=names)
    assert parameters.alpn_protocols == ("x-amzn-mqtt-ca", "mqtt")
    assert hash(parameters) == hash(TLSParameters(alpn_protocols=tuple(names)))
    assert TLSParameters(alpn_protocols=["a" * 255]).alpn_protocols == ("a" * 255,)


@pytest.mark.parametrize(
    ("names", "error", "match"),
    [
        ("mqtt", TypeError, "must be a list of names"),
        (b"mqtt", TypeError, "must be a list of names"),
        (1, TypeError, "must be a list of names"),
        ([b"mqtt"], TypeError, "must hold str, not bytes"),
        ([""], ValueError, "of 1 to 255 ASCII characters, not ''"),
        (["a" * 256], ValueError, "of 1 to 255 ASCII characters"),
        (["mqtté"], ValueError, "of 1 to 255 ASCII characters"),
    ],
)
def test_protocols_that_can_not_be_offered(names, error, match):
    with pytest.raises(error, match=f"^alpn_protocols .*{match}"):
        TLSParameters(alpn_protocols=names)


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
    [
        Client.__init__,
        Client.connected,
        Client.publish,
        Client.publish_many,
        Client.publish_nowait,
        Client.request,
        Client.serve,
        Client.states,
        Client.subscribe,
        Client.unsubscribe,
        Will,
    ],
    ids=lambda function: function.__qualname__,
)
def test_the_annotations_can_be_read_at_run_time(function):
    assert typing.get_type_hints(function)
