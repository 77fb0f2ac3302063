"""The broker of the library, behind the interface of the tests' mosquitto."""

import logging
import ssl
from pathlib import Path
from typing import Any

from aiomqtt.broker import Broker, ClientInfo, Limits
from aiomqtt.topic import Topic
from tests.brokers import Broker as Mosquitto
from tests.certificates import Certificates, Pair


class OwnBroker:
    """A `Broker` on the loop of the test that uses it; see `tests.brokers.Broker`.

    It has the same attributes, and the same options, but for `settings`. In a crash it
    forgets what a mosquitto without persistence forgets.
    """

    host = Mosquitto.host
    username = Mosquitto.username
    password = Mosquitto.password

    def __init__(
        self,
        transport: str,
        *,
        passwords: bool = False,
        certificates: Certificates | None = None,
        persistence: bool = False,
        limits: dict[str, int] | None = None,
        rules: dict[str, str] | None = None,
    ) -> None:
        self.transport = transport
        self.certificates = certificates
        self.persistence = persistence
        self.rules = rules
        self._lines: list[str] = []
        # Not of the tree of loggers, so that it goes with this object.
        self._logger = ListingLogger(self._lines)
        limits = limits or {}
        self._broker = Broker(
            credentials={self.username: self.password} if passwords else None,
            authorize=self._authorize if rules else None,
            limits=Limits(
                receive_maximum=limits.get("max_inflight_messages", 20),
                maximum_packet_size=limits.get("max_packet_size"),
                maximum_queued_messages=limits.get("max_queued_messages", 1_000_000),
                maximum_queued_bytes=1 << 40,
                topic_alias_maximum=10,
            ),
            logger=self._logger,
        )
        self._ports: list[int] = []

    async def _authorize(self, client: ClientInfo, action: str, topic: str) -> bool:
        assert self.rules is not None
        if action == "subscribe":
            return topic in self.rules
        return any(
            how == "readwrite" and Topic(topic).matches(name)
            for name, how in self.rules.items()
        )

    async def start(self) -> None:
        """Start it, on the ports that it had."""
        await self._broker.start()
        self.port = self._broker.port
        if (tls := self.certificates) is not None:
            ports = self._ports or [0, 0, 0]
            listeners = [
                await self._broker.listen(port=port, ssl_context=context)
                for port, context in zip(
                    ports,
                    (
                        server_context(tls.server),
                        server_context(tls.wrong_name),
                        server_context(tls.server, tls.ca_file),
                    ),
                    strict=True,
                )
            ]
            self._ports = [listener.port for listener in listeners]
            self.tls_port, self.wrong_name_port, self.mutual_tls_port = self._ports

    async def stop(self) -> None:
        """End it as an administrator does."""
        await self._broker.stop()

    def kill(self) -> None:
        """End it as a crash does."""
        self._broker.kill()
        if not self.persistence:
            self._broker.clear()

    def pause(self) -> None:
        self._broker.pause()

    def resume(self) -> None:
        self._broker.resume()

    @property
    def name(self) -> str:
        """By which the memory transport finds it."""
        return self._broker.name

    @property
    def address(self) -> str:
        """The address of the broker in a client's errors."""
        if self.transport == "memory":
            return f"memory:{self.name}"
        return f"{self.host}:{self.port}"

    @property
    def ca_file(self) -> Path:
        assert self.certificates is not None, "this broker has no TLS"
        return self.certificates.ca_file

    @property
    def log(self) -> str:
        """The whole log of the broker, including earlier runs."""
        return "\n".join(self._lines)


class ListingLogger(logging.Logger):
    """Keeps the texts that are logged: to make records takes longer than a packet."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("own-broker", logging.DEBUG)
        self._lines = lines

    def log(self, level: int, msg: object, *args: object, **_: Any) -> None:
        if self.isEnabledFor(level):
            self._lines.append(str(msg) % args if args else str(msg))


def server_context(pair: Pair, clients: Path | None = None) -> ssl.SSLContext:
    """TLS with a certificate; with an authority, clients need one of it too."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
