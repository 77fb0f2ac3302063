"""The published checks of transports, through real proxies."""

import pytest

from aiomqtt.net.target import Proxy
from tests.checked_transports import SCHEMES, check_scheme
from tests.proxies import Apache, Dante, RealProxy

# Other proxies end a connection if one of its directions ends.
WAYS: dict[str, type[RealProxy]] = {"socks4": Dante, "socks5": Dante, "http": Apache}


@pytest.fixture(scope="module")
def proxies(tmp_path_factory):
    started = {}
    for kind in set(WAYS.values()):
        started[kind] = kind(tmp_path_factory.mktemp(kind.program))
        started[kind].start()
    yield started
    for proxy in started.values():
        proxy.stop()


# A scheme speaks through what a proxy has agreed to, whichever proxy it is.
@pytest.mark.parametrize(
    ("way", "scheme"),
    [
        *(("socks5", scheme) for scheme in SCHEMES),
        *((way, scheme) for way in ("socks4", "http") for scheme in ("mqtt", "wss")),
    ],
)
async def test_it_passes(way, scheme, proxies, certificates, anyio_backend):
    real = proxies[WAYS[way]]
    await check_scheme(scheme, certificates, Proxy(way, real.host, real.port))
