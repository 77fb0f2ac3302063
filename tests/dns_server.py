"""A name server on loopback, with the SRV records that a test gives it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import cast

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

# The records of a name, such as "0 5 1883 a.example."; or the code of the answer; or
# None: no answer.
Answer = list[str] | dns.rcode.Rcode | None
# An answer of more bytes comes by TCP alone.
LARGEST_DATAGRAM = 512


class NameServer(asyncio.DatagramProtocol):
    """Answers questions by a table.

    Attributes:
        zone: The answers, by name; a name that is not there does not exist.
        port: Its port.
        asked: The questions so far: a name and a type.
        was_asked: Set by each question.
    """

    def __init__(self, zone: Mapping[str, Answer]) -> None:
        self.zone = dict(zone)
        self.port = 0
        self.asked: list[str] = []
        self.was_asked = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Transports of other loops have a base of their own.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        response = self._answer(data)
        if response is None:
            return
        if len(response.to_wire()) > LARGEST_DATAGRAM:
            response.answer.clear()
            response.flags |= dns.flags.TC
        self._transport.sendto(response.to_wire(), addr)

    async def serve_tcp(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one question by TCP."""
        size = int.from_bytes(await reader.readexactly(2), "big")
        response = self._answer(await reader.readexactly(size))
        if response is not None:
            data = response.to_wire()
            writer.write(len(data).to_bytes(2, "big") + data)
        await reader.read(1)
        writer.close()

    def _answer(self, data: bytes) -> dns.message.Message | None:
        query = dns.message.from_wire(data)
        [question] = query.question
        self.asked.append(question.to_text())
        self.was_asked.set()
        name = question.name.to_text(omit_final_dot=True)
        answer = self.zone.get(name, dns.rcode.NXDOMAIN)
        if answer is None:
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if not isinstance(answer, list):
            response.set_rcode(answer)
        elif answer:
            response.answer.append(
                dns.rrset.from_text(question.name, 60, "IN", "SRV", *answer)
            )
        return response


@contextlib.asynccontextmanager
async def serve_names(
    monkeypatch: pytest.MonkeyPatch | None, zone: Mapping[str, Answer]
) -> AsyncIterator[NameServer]:
    """Serve these names; with a monkeypatch, as the name server of this process."""
    server = NameServer(zone)
    by_tcp = await asyncio.start_server(server.serve_tcp, "127.0.0.1", 0)
    server.port = by_tcp.sockets[0].getsockname()[1]
    by_udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: server, ("127.0.0.1", server.port)
    )
    if monkeypatch is not None:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], server.port
        monkeypatch.setattr(dns.asyncresolver, "default_resolver", resolver)
    try:
        async with by_tcp:
            yield server
    finally:
        by_udp.close()
