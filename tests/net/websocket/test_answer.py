"""Answers that do not open a WebSocket: what happened, and what to do."""

import pytest

from aiomqtt.net.target import WebSocketTarget
from aiomqtt.net.websocket.answer import explain_answer

TARGET = WebSocketTarget("broker.example", 80, "/mqtt?token=secret")


def explain(status: str, *headers: str) -> str:
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""])
    said = explain_answer(head.encode(), TARGET)
    assert said is not None
    assert "secret" not in said
    return said


def test_an_answer_that_agrees():
    assert explain_answer(b"HTTP/1.1 101 Switching\r\n\r\n", TARGET) is None


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        ("200 OK", "this is a web server"),
        ("400 Bad Request", "does this port expect TLS"),
        ("401 Unauthorized", "pass credentials in websocket_headers"),
        ("403 Forbidden", "check the credentials and the Origin in websocket_headers"),
        ("404 Not Found", "nothing has the path '/mqtt': pass the websocket_path"),
        ("405 Method Not Allowed", "the path '/mqtt' takes no WebSocket"),
        ("407 Proxy Authentication Required", "a proxy on the way needs a password"),
        ("426 Upgrade Required", "takes another protocol than WebSocket"),
        ("429 Too Many Requests", "try again later"),
        ("500 Internal Server Error", "it failed: see its log"),
        ("503 Service Unavailable", "it is not available: try again later"),
    ],
)
def test_a_status(status, advice):
    said = explain(status)
    assert said.startswith(f"it answered the WebSocket handshake with {status}: ")
    assert advice in said


def test_a_status_without_advice():
    assert explain("418").endswith("handshake with 418")


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("wss://other.example/ws", "wss://other.example/ws"),
        ("https://u:secret@other.example:81/ws?secret", "https://other.example:81/ws"),
        ("https://[::1]:81/", "https://[::1]:81/"),
        ("/other?secret", "/other"),
        ("https://[", "another address"),
        ("/\x1b[1m", r"/\x1b[1m"),
    ],
)
def test_a_redirection(location, place):
    for name in ("Location", "location"):
        said = explain("301 Moved Permanently", "Server: x", f"{name}: {location}")
        assert said.endswith(f"301 Moved Permanently: connect to {place} instead")


def test_a_redirection_to_nowhere():
    assert explain("302 Found").endswith("302 Found")


def test_a_phrase_is_escaped():
    assert "\x1b" not in explain("500 \x1b[31m")


@pytest.mark.parametrize(
    ("data", "meaning"),
    [
        (b"SSH-2.0-OpenSSH", "speaks SSH"),
        (b"\x15\x03\x01\x00\x02", "speaks TLS: pass tls_params"),
        (b"\x20\x02\x00\x00", "no HTTP: does this port expect WebSocket?"),
        (b"HTTP/2 101\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + bytes(100), "no HTTP"),
    ],
)
def test_no_http(data, meaning):
    said = explain_answer(data, TARGET)
    assert said is not None
    assert meaning in said
