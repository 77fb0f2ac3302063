"""DNS SRV: the order of the records, and the answers of a name server on loopback."""

import asyncio
import random
import sys
import threading
from collections import Counter
from typing import Any

import dns.asyncresolver
import dns.rcode
import pytest

from aiomqtt import MqttError, TLSParameters
from aiomqtt.net.srv import Record, find_brokers, order
from aiomqtt.net.target import ServiceTarget
from tests.dns_server import serve_names

DOMAIN = ServiceTarget("home.example", 1883)
NAME = "_mqtt._tcp.home.example"


# --- the order (RFC 2782) ------------------------------------------------------------


def record(name, priority=0, weight=0):
    return Record(priority, weight, 1883, name)


def names(records):
    return "".join(record.hostname for record in records)


def test_the_lowest_priority_comes_first():
    records = [record("c", 20), record("a", 0), record("b", 10)]
    assert names(order(records, random.randint)) == "abc"
    assert order([], random.randint) == []


@pytest.mark.parametrize(
    ("draws", "expected"),
    [
        # Running sums: a 0, b 1, c 4. Then what is left of them.
        ([0, 0, 0], "abc"),
        ([1, 0, 0], "bac"),
        ([2, 0, 0], "cab"),
        ([4, 1, 0], "cba"),
        ([4, 0, 0], "cab"),
    ],
)
def test_the_weights_are_drawn(draws, expected):
    records = [record("c", 0, 3), record("a", 0, 0), record("b", 0, 1)]
    asked = []

    def randint(low, high):
        asked.append((low, high))
        return draws[len(asked) - 1]

    assert names(order(records, randint)) == expected
    assert asked[0] == (0, 4)


def test_the_weights_are_shares():
    randint = random.Random(15).randint
    records = [record("a", 0, 10), record("b", 0, 30), record("c", 0, 60)]
    firsts = Counter(order(records, randint)[0].hostname for _ in range(5000))
    for name, share in [("a", 0.1), ("b", 0.3), ("c", 0.6)]:
        assert abs(firsts[name] / 5000 - share) < 0.03


def test_a_weight_of_0_is_chosen_seldom_and_not_never():
    randint = random.Random(15).randint
    records = [record("a", 0, 0), record("b", 0, 9)]
    firsts = Counter(order(records, randint)[0].hostname for _ in range(5000))
    assert 0 < firsts["a"] < 1000


def test_the_same_record_twice():
    records = [record("a"), record("a")]
    assert names(order(records, random.randint)) == "aa"


# --- the target ----------------------------------------------------------------------


def test_the_name_of_the_service():
    assert str(DOMAIN) == NAME
    secure = ServiceTarget("home.example.", 8883, tls_params=TLSParameters())
    assert str(secure) == "_secure-mqtt._tcp.home.example"


def test_a_certificate_must_have_the_name_of_the_domain():
    secure = ServiceTarget("home.example", 8883, tls_params=TLSParameters())
    assert secure.at("a.example", 1).tls_name == "home.example"
    named = ServiceTarget(
        "home.example", 8883, tls_params=TLSParameters(), server_hostname="b.example"
    )
    assert named.at("a.example", 1).tls_name == "b.example"
    # A redirection does not come from the DNS, but from a broker with a certificate.
    assert secure.moved_to("a.example", 1).tls_name == "a.example"
    assert type(secure.at("a", 1)).__name__ == "TcpTarget"


# --- the answers ---------------------------------------------------------------------


async def find(target=DOMAIN, timeout=5.0):
    async with asyncio.timeout(10):
        return [str(found) for found in await find_brokers(target, timeout)]


async def refusal(monkeypatch, answer, target=DOMAIN):
    async with serve_names(monkeypatch, {NAME: answer}):
        with pytest.raises(MqttError) as caught:
            await find(target)
    said = str(caught.value)
    assert said.startswith(f"Could not connect to {target}: ")
    return said


async def test_the_brokers_of_a_domain(monkeypatch):
    answer = ["20 0 1884 c.example.", "0 1 1883 b.example.", "10 0 1885 A.example."]
    async with serve_names(monkeypatch, {NAME: answer}) as server:
        expected = ["b.example:1883", "A.example:1885", "c.example:1884"]
        assert await find() == expected
        assert server.asked == [f"{NAME}. IN SRV"]


async def test_with_tls_it_asks_for_the_secure_service(monkeypatch):
    secure = ServiceTarget("home.example", 8883, tls_params=TLSParameters())
    zone = {"_secure-mqtt._tcp.home.example": ["0 0 8883 a.example."]}
    async with serve_names(monkeypatch, zone):
        assert await find(secure) == ["a.example:8883"]


async def test_an_answer_that_is_too_large_for_udp_comes_by_tcp(monkeypatch):
    answer = [f"{number} 0 1883 broker-{number}.example." for number in range(50)]
    async with serve_names(monkeypatch, {NAME: answer}) as server:
        expected = [f"broker-{number}.example:1883" for number in range(50)]
        assert await find() == expected
        assert len(server.asked) == 2


async def test_the_package_is_imported_off_the_loop():
    """Also those of its modules that it imports when an answer needs them."""
    program = """
import asyncio, sys, threading
import dns.asyncresolver
from aiomqtt.net.srv import find_brokers
from aiomqtt.net.target import ServiceTarget

opened = []

def hook(event, arguments):
    is_here = threading.current_thread() is threading.main_thread()
    if event == "open" and is_here and "dns" in str(arguments[0]):
        opened.append(arguments[0])

resolver = dns.asyncresolver.Resolver(configure=False)
resolver.nameservers, resolver.port = ["127.0.0.1"], int(sys.argv[1])
dns.asyncresolver.default_resolver = resolver
sys.addaudithook(hook)
print(*asyncio.run(find_brokers(ServiceTarget("home.example", 1883), 5)), *opened)
"""
    async with serve_names(None, {NAME: ["0 0 1883 a.example."]}) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", program, str(server.port)),
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            output, _ = await process.communicate()
    assert output.decode().split() == ["a.example:1883"]


async def test_the_domain_does_not_exist(monkeypatch):
    said = await refusal(monkeypatch, dns.rcode.NXDOMAIN)
    assert "there is no such SRV record: is the domain right?" in said


async def test_the_domain_has_no_such_record(monkeypatch):
    said = await refusal(monkeypatch, [])
    assert "connects to the host of that name" in said


async def test_the_service_is_not_offered(monkeypatch):
    said = await refusal(monkeypatch, ["0 0 0 ."])
    assert said.endswith("the domain says that it does not offer this service")


async def test_the_name_server_fails(monkeypatch):
    said = await refusal(monkeypatch, dns.rcode.SERVFAIL)
    assert "the name servers could not answer: " in said
    assert "SERVFAIL" in said


@pytest.mark.parametrize("domain", ["a" * 64 + ".example", ".".join(["a" * 60] * 5)])
async def test_a_name_that_is_too_long(monkeypatch, domain):
    target = ServiceTarget(domain, 1883)
    said = await refusal(monkeypatch, [], target)
    assert said.endswith("too long for the DNS")


@pytest.mark.parametrize("domain", ["a..example", "\\300.example", "\udcff.example"])
async def test_a_name_that_is_none(monkeypatch, domain):
    await refusal(monkeypatch, [], ServiceTarget(domain, 1883))


async def test_no_answer_in_time(monkeypatch):
    async with serve_names(monkeypatch, {NAME: None}):
        with pytest.raises(TimeoutError):
            await find(timeout=0.2)


async def test_a_cancellation_leaves_nothing_behind(monkeypatch):
    async with serve_names(monkeypatch, {NAME: None}) as server:
        finding = asyncio.ensure_future(find())
        await server.was_asked.wait()
        finding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await finding


@pytest.mark.skipif(sys.platform == "win32", reason="it has a registry instead")
async def test_the_configuration_of_the_system_is_read_off_the_loop(monkeypatch):
    readers = []

    async with serve_names(monkeypatch, {NAME: ["0 0 1 a.example."]}):
        own: Any = dns.asyncresolver.default_resolver

        def read(self, file):
            readers.append((threading.current_thread(), file))
            self.nameservers, self.port = own.nameservers, own.port

        monkeypatch.setattr(dns.asyncresolver, "default_resolver", None)
        monkeypatch.setattr(dns.asyncresolver.Resolver, "read_resolv_conf", read)
        assert await find() == ["a.example:1"]
    [(thread, file)] = readers
    assert thread is not threading.main_thread()
    assert file == "/etc/resolv.conf"


async def test_the_system_has_no_configuration(monkeypatch):
    def missing(self, *args):
        raise dns.resolver.NoResolverConfiguration("cannot open /etc/resolv.conf")

    monkeypatch.setattr(dns.asyncresolver, "default_resolver", None)
    monkeypatch.setattr(dns.asyncresolver.Resolver, "__init__", missing)
    with pytest.raises(MqttError, match="no name server is configured: cannot open"):
        await find()


async def test_without_the_extra(monkeypatch):
    for name in list(sys.modules):
        if name.partition(".")[0] == "dns" or name == "aiomqtt.net.srv_lookup":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dns", None)
    with pytest.raises(MqttError) as caught:
        await find()
    assert 'pip install "aiomqtt[srv]"' in str(caught.value)
    assert isinstance(caught.value.__cause__, ImportError)
