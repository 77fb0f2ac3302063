"""URLs of brokers: each part, each error, and nothing of a password in any of them."""

import contextlib
import dataclasses
import inspect
import math
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomqtt import Client, MqttError, TLSParameters
from aiomqtt.client.url import ARGUMENTS, TLS_PARAMETERS, to_arguments
from aiomqtt.exceptions import MqttConnectError
from tests.peer import serve
from tests.ports import free_port
from tests.raw_scripts import accept, fails, good, works

SECRET = "s3cr3t"

TLS = TLSParameters()


def parsed(url: str, **arguments: Any) -> dict[str, Any]:
    found = to_arguments(url, arguments)
    assert isinstance(found, dict), found
    return found


def tcp(hostname: Any = "h", port: int = 1883, **others: Any) -> dict[str, Any]:
    return {"transport": "tcp", "hostname": hostname, "port": port, **others}


def websocket(hostname: str = "h", port: int = 80, **others: Any) -> dict[str, Any]:
    return tcp(hostname, port, **others) | {"transport": "websockets"}


def unix(path: str, **others: Any) -> dict[str, Any]:
    return {"transport": "unix", "hostname": path, **others}


def memory(name: str, **others: Any) -> dict[str, Any]:
    return {"transport": "memory", "hostname": name, **others}


# --- the parts ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        # Schemes and default ports.
        ("mqtt://h", tcp()),
        ("MQTT://h", tcp()),
        ("tcp://h", tcp()),
        ("mqtts://h", tcp(port=8883, tls_params=TLS)),
        ("ssl://h", tcp(port=8883, tls_params=TLS)),
        ("tls://h", tcp(port=8883, tls_params=TLS)),
        ("ws://h", websocket()),
        ("wss://h", websocket(port=443, tls_params=TLS)),
        ("mqtt://h/", tcp()),
        ("mqtt://h?", tcp()),
        ("mqtt://h/?keepalive=5", tcp(keepalive=5)),
        # Hosts and ports.
        ("mqtt://Broker.Example.com.:1", tcp("Broker.Example.com.", 1)),
        ("mqtt://h:65535", tcp(port=65_535)),
        ("mqtt://h:01884", tcp(port=1884)),
        ("mqtt://127.0.0.1", tcp("127.0.0.1")),
        ("mqtt://[::1]", tcp("::1")),
        ("mqtt://[::1]:1884", tcp("::1", 1884)),
        ("wss://[2001:db8::1]:8084", websocket("2001:db8::1", 8084, tls_params=TLS)),
        ("mqtt://[fe80::1%25eth0]:1884", tcp("fe80::1%eth0", 1884)),
        ("mqtt://[fe80::1%eth0]", tcp("fe80::1%eth0")),
        ("mqtt://%68", tcp()),
        ("mqtt://b\u00fccher.example", tcp("b\u00fccher.example")),
        # Several of them.
        ("mqtt://a,b", tcp(["a", "b"])),
        ("mqtt://a,b:1884,[::1]:1885", tcp(["a", ("b", 1884), ("::1", 1885)])),
        ("mqtts://a:1,b", tcp([("a", 1), "b"], 8883, tls_params=TLS)),
        ("mqtt://u:p@a,b", tcp(["a", "b"], username="u", password="p")),
        # Named by the DNS.
        ("mqtt+srv://h", {"transport": "tcp", "hostname": "h", "srv": True}),
        (
            "mqtts+srv://u:p@a,b",
            {
                "transport": "tcp",
                "hostname": ["a", "b"],
                "srv": True,
                "username": "u",
                "password": "p",
                "tls_params": TLS,
            },
        ),
        ("mqtts://h?srv=true", tcp(port=8883, tls_params=TLS, srv=True)),
        # Users.
        ("mqtt://u@h", tcp(username="u")),
        ("mqtt://u:@h", tcp(username="u", password="")),
        ("mqtt://:p@h", tcp(password="p")),
        ("mqtt://:@h", tcp()),
        ("mqtt://@h", tcp()),
        ("mqtt://u:p:q@h", tcp(username="u", password="p:q")),
        ("mqtt://u@d:p@q@h", tcp(username="u@d", password="p@q")),
        (
            "mqtt://a%40b%3A:%2F%3F%23%25%20%2B+@h",
            tcp(username="a@b:", password="/?#% ++"),
        ),
        ("mqtt://%C3%A9:\u00e9@h", tcp(username="\u00e9", password="\u00e9")),
        # Paths.
        ("ws://h/", websocket(websocket_path="/")),
        ("ws://h/mqtt", websocket(websocket_path="/mqtt")),
        ("ws://h:9001/a/b%2Fc", websocket(port=9001, websocket_path="/a/b%2Fc")),
        ("ws://h?websocket_path=/a%3Fb=c", websocket(websocket_path="/a?b=c")),
        ("unix:///run/m.sock", unix("/run/m.sock")),
        ("unix:/run/m.sock", unix("/run/m.sock")),
        ("unix:m.sock", unix("m.sock")),
        ("unix:///run/a%20b%3F", unix("/run/a b?")),
        ("unix:///run/@m:1,2", unix("/run/@m:1,2")),
        ("unix://u:p@/run/m", unix("/run/m", username="u", password="p")),
        ("unix:///run/m?keepalive=5", unix("/run/m", keepalive=5)),
        ("memory:b", memory("b")),
        ("memory://b", memory("b")),
        ("memory://My%20Broker/", memory("My Broker")),
        (
            "memory://u:p@b?timeout=1",
            memory("b", username="u", password="p", timeout=1),
        ),
        ("memory:u:p@b", memory("b", username="u", password="p")),
        ("memory:a:b", memory("a:b")),
        # The query.
        ("mqtt://h?&identifier=&", tcp(identifier="")),
        ("mqtt://h?identifier=a+b%2B%26c=d", tcp(identifier="a b+&c=d")),
        ("mqtt://h?username=u@d&password=p", tcp(username="u@d", password="p")),
        ("mqtt://h?clean_session=false", tcp(clean_session=False)),
        ("mqtt://h?clean_session=True", tcp(clean_session=True)),
        ("mqtt://h?clean_session=0", tcp(clean_session=False)),
        ("mqtt://h?protocol=5&clean_start=3", tcp(protocol=5, clean_start=3)),
        ("mqtt://h?protocol=5&clean_start=1", tcp(protocol=5, clean_start=True)),
        ("mqtt://h?timeout=2.5", tcp(timeout=2.5)),
        ("mqtt://h?timeout=inf", tcp(timeout=math.inf)),
        (
            "mqtt://a,b?address_order=random&attempt_timeout=3&redirect=follow",
            tcp(
                ["a", "b"],
                address_order="random",
                attempt_timeout=3.0,
                redirect="follow",
            ),
        ),
        (
            "mqtts://h?ca_certs=/etc/ca%20x.pem&tls_insecure=true",
            tcp(
                port=8883,
                tls_params=TLSParameters("/etc/ca x.pem"),
                tls_insecure=True,
            ),
        ),
        (
            (
                "wss://h?alpn_protocols=mqtt,x&ciphers=c&certfile=f&keyfile=k"
                "&keyfile_password=kp&server_hostname=s"
            ),
            websocket(
                port=443,
                server_hostname="s",
                tls_params=TLSParameters(
                    certfile="f",
                    keyfile="k",
                    ciphers="c",
                    keyfile_password="kp",
                    alpn_protocols=("mqtt", "x"),
                ),
            ),
        ),
    ],
)
def test_the_parts(url, expected):
    assert parsed(url) == expected
    assert isinstance(Client.from_url(url, protocol=5, clean_session=None), Client)


def test_every_argument_of_the_client_is_considered():
    """A new one has to be in the query, or here."""
    others = {"self", "hostname", "port", "transport"}
    no_plain_values = {
        "authenticator",
        "birth",
        "credentials",
        "logger",
        "properties",
        "proxy",
        "queue_type",
        "session",
        "socket_options",
        "tls_context",
        "tls_params",
        "websocket_headers",
        "will",
    }
    assert {*inspect.signature(Client.__init__).parameters} == (
        others | no_plain_values | {*ARGUMENTS}
    )
    fields = {field.name for field in dataclasses.fields(TLSParameters)}
    assert fields == {*TLS_PARAMETERS, "cert_reqs", "tls_version"}


# --- arguments by name ----------------------------------------------------------

CONTEXT = object()


@pytest.mark.parametrize(
    ("url", "arguments", "expected"),
    [
        ("mqtt://h?keepalive=5", {"keepalive": 6}, tcp(keepalive=6)),
        ("mqtt://u:p@h", {"username": None}, tcp(username=None, password="p")),
        ("mqtt://h:1", {"port": 2}, tcp(port=2)),
        ("mqtt://h", {"logger": None}, tcp(logger=None)),
        ("mqtts://h", {"tls_context": CONTEXT}, tcp(port=8883, tls_context=CONTEXT)),
        (
            "mqtts://h?ca_certs=a",
            {"tls_params": TLSParameters("b")},
            tcp(port=8883, tls_params=TLSParameters("b")),
        ),
        # TLS is not switched off by an argument that is not set.
        (
            "mqtts://h",
            {"tls_params": None, "tls_context": None},
            tcp(port=8883, tls_params=TLS, tls_context=None),
        ),
        ("mqtt://u:p@h", {"credentials": print}, tcp(credentials=print)),
        (
            "mqtt://u:p@h",
            {"credentials": None},
            tcp(username="u", password="p", credentials=None),
        ),
    ],
)
def test_arguments_by_name_take_precedence(url, arguments, expected):
    assert parsed(url, **arguments) == expected


def test_an_unknown_argument_by_name():
    with pytest.raises(TypeError, match="unexpected keyword argument 'keep_alive'"):
        Client.from_url("mqtt://h", keep_alive=5)


def test_a_subclass_returns_its_own():
    class Mine(Client):
        def __init__(self, *args: Any, name: str = "", **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.name = name

    client = Mine.from_url("mqtt://h", name="mine")
    assert type(client) is Mine
    assert client.name == "mine"


async def test_it_connects():
    async with serve(good(4)) as server:
        url = f"mqtt://u:p@{server.host}:{server.port}?keepalive=5"
        client = Client.from_url(url)
        await works(client)


# --- what is wrong --------------------------------------------------------------

WRONG = [
    # The scheme.
    (f"{SECRET}", "must begin with a scheme, as in mqtt://user"),
    ("", "must begin with a scheme"),
    ("broker.example:1883", "must begin with a scheme"),
    (f"user:{SECRET}@h", "must begin with a scheme"),
    (f"//user:{SECRET}@h", "must begin with a scheme"),
    (f"http://u:{SECRET}@h", "there are mqtt, mqtts, ws, wss, unix, memory, tcp, ssl"),
    (f"{SECRET}://h", "must begin with a scheme"),
    (f"mqtt:u:{SECRET}@h", "must have two slashes after the scheme"),
    ("mqtt:h", "must have two slashes"),
    # White space.
    (f" mqtt://u:{SECRET}@h", "must not have spaces, line breaks"),
    (f"mqtt://u:{SECRET}@h\n", "must not have spaces, line breaks"),
    (f"mqtt://u:{SECRET} @h", "percent-encode them"),
    (f"mqtt://u:{SECRET}@h\0", "must not have spaces, line breaks"),
    (f"mqtt://u:{SECRET}@h\ud800", "must not have spaces, line breaks"),
    ("mqtt://u:p\u00a0@h", "must not have spaces"),
    # Hosts.
    ("mqtt://", "must have a host"),
    (f"mqtt://u:{SECRET}@", "must have a host"),
    (f"mqtt://u:{SECRET}@:1883", "must have a host"),
    ("mqtt:///path", "must not have a path"),
    (f"mqtt://u:{SECRET}@a,,b", "must have a host"),
    ("mqtt://a,", "must have a host"),
    ("memory:", "must have a host"),
    ("memory://u@", "must have a host"),
    ("mqtt://::1", "several colons in its host: write an IPv6 address in brackets"),
    ("mqtt://[::1", "IPv6 address within brackets"),
    ("mqtt://[]", "IPv6 address within brackets"),
    (f"mqtt://[{SECRET}]", "IPv6 address within brackets"),
    ("mqtt://[127.0.0.1]", "IPv6 address within brackets"),
    ("mqtt://[::1]1883", "a colon and a port after the brackets"),
    # Ports.
    ("mqtt://h:", "must have a port from 1 to 65535"),
    ("mqtt://h:0", "must have a port from 1 to 65535"),
    ("mqtt://h:65536", "must have a port from 1 to 65535"),
    ("mqtt://h:999999999999", "must have a port from 1 to 65535"),
    ("mqtt://h:-1", "must have a port from 1 to 65535"),
    ("mqtt://h:\u0661", "must have a port from 1 to 65535"),
    ("mqtt://[::1]:x", "must have a port from 1 to 65535"),
    ("mqtt://a:1,b:x", "must have a port from 1 to 65535"),
    # A password that is not percent-encoded ends up in another part.
    (f"mqtt://u:{SECRET}/x@h", "must not have a path"),
    (f"mqtt://u:1/{SECRET}@h", "must not have a path, .*write %2F for a /"),
    (f"ws://u:1/{SECRET}@h", "must not have an @ in its path: write %40, and %2F"),
    (f"mqtt://u:{SECRET}?x@h", "must have a port"),
    (f"mqtt://u:1?{SECRET}=@h", "an unknown argument in its query: there are"),
    ("mqtt://u:1?sesame=x@h", "an unknown argument in its query: there are"),
    (f"mqtt://u:1?{SECRET}", "an unknown argument in its query: there are"),
    (
        f"mqtt://u:1?keepalive={SECRET}@h",
        "a whole number from 0 to 65535 as keepalive",
    ),
    (f"mqtt://u:{SECRET}#x@h", "must not have a fragment: write %23"),
    (f"mqtt+srv://u:{SECRET}", "must have a port from 1"),
    ("mqtt+srv://u:1884", "must not have a port, which the DNS says"),
    ("mqtts+srv://a,b:1", "must not have a port, which the DNS says"),
    # Percent-encoding.
    (f"mqtt://u:{SECRET}%@h", "has a % in the password without .*: write %25"),
    (f"mqtt://u:{SECRET}%2@h", "has a % in the password without"),
    (f"mqtt://u%zz:{SECRET}@h", "has a % in the user name without"),
    (f"mqtt://u:{SECRET}%FF@h", "must have UTF-8 in the password"),
    ("mqtt://h%", "has a % in the host"),
    ("unix:///%", "has a % in the path"),
    ("memory:%", "has a % in the name of the broker"),
    ("mqtt://h?identifier=%ff", "must have UTF-8 in identifier"),
    # Paths.
    ("mqtt://h/path", "must not have a path, which is for ws, wss and unix"),
    ("mqtt://a/,b", "must not have a path"),
    ("memory://b/path", "must not have a path"),
    ("unix:", "must have the path of a socket"),
    ("unix://", "must have the path of a socket"),
    ("unix://run/m.sock", "must have three slashes before a path"),
    # The query.
    (
        "mqtt://h?keep_alive=5",
        "has an unknown argument in its query, 'keep_alive': there are ack, ",
    ),
    ("mqtt://h?will=x", "query, 'will': there are .*, username, "),
    ("mqtt://h?Keepalive=5", "unknown argument in its query: there are"),
    ("mqtt://h?port=1", "has port in its query: it belongs before the query"),
    ("mqtt://h?hostname=1", "has hostname in its query"),
    ("ws://h?transport=tcp", "has transport in its query"),
    ("mqtt://h?keepalive", "has keepalive without a value: write keepalive="),
    ("mqtt://h?keepalive=1&keepalive=2", "has keepalive twice"),
    ("mqtts://h?ca_certs=1&ca_certs=2", "has ca_certs twice"),
    (f"mqtt://u:{SECRET}@h?username=x", "has username twice"),
    (f"mqtt://u:{SECRET}@h?password=x", "has password twice"),
    ("ws://h/a?websocket_path=b", "has websocket_path twice"),
    ("mqtt://h?keepalive=", "a whole number from 0 to 65535 as keepalive"),
    ("mqtt://h?keepalive=1.5", "a whole number from 0 to 65535 as keepalive"),
    ("mqtt://h?keepalive=1_0", "a whole number from 0 to 65535 as keepalive"),
    (
        "mqtt://h?keepalive=\u0661",
        "a whole number from 0 to 65535 as keepalive",
    ),
    (
        "mqtt://h?keepalive=" + "9" * 5000,
        "a whole number from 0 to 65535 as keepalive",
    ),
    ("mqtt://h?keepalive=-1", "a whole number from 0 to 65535 as keepalive"),
    ("mqtt://h?bind_port=65536", "a whole number from 0 to 65535 as bind_port"),
    ("mqtt://h?protocol=6", r"must have 3 \(3.1\), .* or 5 \(5.0\) as protocol"),
    ("mqtt://h?attempt_timeout=0", "must have a number above 0 or .* as attempt_time"),
    ("mqtt://h?attempt_timeout=nan", "must have a number above 0 or .* as attempt_t"),
    ("mqtt://h?address_order=x", "listed, random or round_robin as address_order"),
    ("mqtt://h?redirect=x", "must have raise or follow as redirect"),
    ("mqtt://h?timeout=soon", 'must have a number or "inf" as timeout'),
    ("mqtt://h?clean_session=", "must have true, false, 1 or 0 as clean_session"),
    ("mqtt://h?clean_session=no", "must have true, false, 1 or 0 as clean_session"),
    ("mqtt://h?clean_start=2", "must have true, false, 1, 0 or 3 as clean_start"),
    ("mqtts://h?alpn_protocols=a,,b", "names in ASCII, separated by commas, as alpn"),
    ("mqtt://h?ca_certs=a", "has ca_certs, which is for TLS: .* mqtts or wss"),
    ("unix:///p?keyfile=a", "has keyfile, which is for TLS"),
]
# What `Client` itself checks.
WRONG_VALUES = [
    ("mqtt://h?timeout=nan", "timeout must be a number"),
    ("mqtt://h?tls_insecure=1", "tls_insecure needs tls_context or tls_params"),
    ("unix:///p?bind_port=1", "bind_port can't be combined with transport 'unix'"),
    (f"mqtt://:{SECRET}@h", "password needs a username"),
    (f"mqtt://u:{SECRET}@h%00", "hostname must be"),
    (f"mqtt://u%00:{SECRET}@h", "user name must not contain"),
]


def shown(error: BaseException) -> str:
    """All that a traceback shows of an error and its causes, and then some."""
    chain = []
    one: BaseException | None = error
    while one is not None:
        chain.append(f"{one!r} {vars(one)}")
        one = one.__cause__ or one.__context__
    return "".join(traceback.format_exception(error)) + "".join(chain)


@contextlib.contextmanager
def no_secret_in_errors(secret: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        if re.search(secret, shown(error)):
            raise AssertionError from error
        raise


@pytest.mark.parametrize(("url", "match"), WRONG + WRONG_VALUES)
def test_a_wrong_url(url, match):
    with pytest.raises(ValueError, match=match) as caught:
        Client.from_url(url)
    assert SECRET not in shown(caught.value)
    assert "sesame" not in shown(caught.value)


@pytest.mark.parametrize("name", [*ARGUMENTS, *TLS_PARAMETERS])
@pytest.mark.parametrize("rest", ["sesame@h", "sesame%00@h", "9991999", "-9991999"])
def test_a_wrong_value_is_not_repeated(name, rest):
    """With `rest`, as that of a password "1?NAME=..." that was not percent-encoded."""
    with contextlib.suppress(ValueError), no_secret_in_errors("sesame|999"):
        Client.from_url(f"mqtts://u:1?{name}={rest}")


@pytest.mark.parametrize("url", [None, b"mqtt://h", 5])
def test_a_url_is_a_str(url):
    with pytest.raises(TypeError, match="url must be str, not"):
        Client.from_url(url)


@pytest.mark.parametrize(
    ("url", "match"), [(url, match) for url, match in WRONG if SECRET in url]
)
@pytest.mark.parametrize("by_environment", [True, False])
def test_local_variables_do_not_show_it_either(url, match, by_environment, monkeypatch):
    """Tools that report errors show the local variables of each frame."""
    if "\0" in url or "\ud800" in url:
        monkeypatch.setattr("os.environ", {"MQTT_URL": url})
    else:
        monkeypatch.setenv("MQTT_URL", url)
    try:
        if by_environment:
            Client.from_env()
        else:
            Client.from_url(url)
    except ValueError as error:
        said = traceback.TracebackException.from_exception(error, capture_locals=True)
        # The first frame is this one.
        ours = said.stack[1:]
        assert ours
        text = "".join(f"{frame.locals}" for frame in ours) + f"{said}"
        assert SECRET not in text
        assert re.search(match, f"{said}")


# --- the environment ------------------------------------------------------------


def test_from_the_environment(monkeypatch):
    monkeypatch.setenv("MQTT_URL", "mqtt://h?identifier=me")
    client = Client.from_env(keepalive=5)
    assert client.identifier == "me"
    monkeypatch.setenv("MQTT_URL", "h")
    with pytest.raises(ValueError, match="^MQTT_URL must begin with a scheme"):
        Client.from_env()


@pytest.mark.parametrize("value", [None, ""])
def test_without_one(value, monkeypatch):
    if value is None:
        monkeypatch.delenv("MQTT_URL", raising=False)
    else:
        monkeypatch.setenv("MQTT_URL", value)
    expected = (
        "^the environment variable MQTT_URL is not set: it must be a URL, such as"
        " mqtt://user:password@host:1883$"
    )
    with pytest.raises(ValueError, match=expected):
        Client.from_env()


# --- secrets and costs ----------------------------------------------------------


async def test_the_password_is_not_shown(caplog):
    caplog.set_level("DEBUG")
    async with serve(good(4), again=True) as server:
        url = f"mqtt://u:{SECRET}@{server.host}:{server.port}"
        client = Client.from_url(url)
        assert SECRET not in repr(client) + repr(vars(client))
        await works(client)

    async def refuses(peer):
        await accept(peer, code=5)
        await peer.expect_end()

    async with serve(refuses) as server:
        url = f"mqtt://u:{SECRET}@{server.host}:{server.port}"
        error = await fails(Client.from_url(url), MqttConnectError)
        assert SECRET not in shown(error)
    # The port of the server may be that of another test by now.
    url = f"mqtt://u:{SECRET}@127.0.0.1:{free_port()}"
    error = await fails(Client.from_url(url), MqttError)
    assert SECRET not in shown(error)
    assert SECRET not in caplog.text


def test_importing_the_library_does_not_load_the_module():
    program = """
import sys, aiomqtt
aiomqtt.Client("localhost")
assert not {"aiomqtt.client.url", "urllib.parse"} & {*sys.modules}
aiomqtt.Client.from_url("mqtt://localhost")
assert "aiomqtt.client.url" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# --- any parts ------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
hosts = st.from_regex("[a-zA-Z0-9.-]{1,12}", fullmatch=True) | st.ip_addresses(v=6).map(
    str
)
ports = st.none() | st.integers(1, 65_535)
values = st.fixed_dictionaries(
    {},
    optional={
        "identifier": texts,
        "server_hostname": texts,
        "keepalive": st.integers(0, 65_535),
        "max_inflight_messages": st.integers(-9_999, 99_999),
        "timeout": st.floats(allow_nan=False, min_value=0),
        "clean_session": st.booleans(),
    },
)


def to_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool | float) else str(value)


@given(
    username=texts,
    password=st.none() | texts,
    addresses=st.lists(st.tuples(hosts, ports), min_size=1, max_size=3),
    query=values,
)
def test_any_parts_come_back(username, password, addresses, query):
    user = quote(username, safe="")
    if password is not None:
        user += ":" + quote(password, safe="")
    places = [
        (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
        for host, port in addresses
    ]
    encoded = urlencode({name: to_text(value) for name, value in query.items()})
    found = parsed(f"mqtt://{user}@{','.join(places)}?{encoded}")
    expected = dict(query)
    if username:
        expected["username"] = username
    if password is not None and (username or password):
        expected["password"] = password
    if len(addresses) == 1:
        host, port = addresses[0]
        expected |= tcp(host, port or 1883)
    else:
        expected |= tcp([one if one[1] else one[0] for one in addresses])
    assert found == expected


@given(st.text(), st.text())
def test_any_text_is_a_url_or_an_error_that_shows_nothing(before, after):
    secret = "kn0wn-t0-n0b0dy"
    for url in (before + secret + after, f"mqtt://{before}:{secret}@{after}"):
        found = to_arguments(url, {})
        if isinstance(found, ValueError):
            assert secret not in shown(found)
