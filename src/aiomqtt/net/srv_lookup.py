"""Asking name servers for SRV records, with the package dnspython.

Its resolver speaks DNS over the event loop. If the program has set
`dns.asyncresolver.default_resolver`, that is used.
"""

import asyncio
import functools
import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, cast

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdtypes.ANY.CNAME
import dns.rdtypes.ANY.OPT
import dns.rdtypes.ANY.SOA
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.rdtypes.IN.SRV  # with the others that answers have: not later, on the loop
import dns.resolver
from dns.asyncresolver import Resolver

from aiomqtt.escaping import escape

# Priority, weight, port and host, without its trailing dot, of an SRV record.
Fields: TypeAlias = tuple[int, int, int, str]


def make_lookup() -> Callable[[str, float], Coroutine[Any, Any, list[Fields]]]:
    """Return a function that asks name servers. This reads their addresses from a file.

    Raises:
        LookupError: The system has no name servers; the text says why.
    """
    resolver = cast("Resolver | None", dns.asyncresolver.default_resolver)
    if resolver is None:
        try:
            resolver = Resolver()
        except dns.resolver.NoResolverConfiguration as error:
            msg = f"no name server is configured: {error}"
            raise LookupError(msg) from error
    return functools.partial(look_up, resolver, Backend())


async def look_up(
    resolver: Resolver, backend: Any, service: str, timeout: float
) -> list[Fields]:
    """Return the SRV records of a name.

    Args:
        resolver: The resolver.
        backend: Its I/O.
        service: The name, such as "_mqtt._tcp.example.com".
        timeout: How many seconds the name servers may take.

    Raises:
        TimeoutError: No name server answered in time.
        LookupError: There are no such records, or the name servers did not say; the
            text says why.
    """
    try:
        answer = await resolver.resolve(
            f"{service}.", "SRV", lifetime=timeout, search=False, backend=backend
        )
    except dns.resolver.LifetimeTimeout as error:
        raise TimeoutError from error
    except (dns.exception.DNSException, OSError) as error:
        raise LookupError(_explain(error)) from error
    return [
        (
            item.priority,
            item.weight,
            item.port,
            item.target.to_text(omit_final_dot=True).rstrip("."),
        )
        for item in answer
    ]


def _explain(error: Exception) -> str:
    """Return why the name servers gave no records."""
    if isinstance(error, dns.resolver.NXDOMAIN | dns.resolver.NoAnswer):
        return (
            "there is no such SRV record: is the domain right? Without srv=True, the"
            " client connects to the host of that name"
        )
    if isinstance(error, dns.resolver.NoNameservers):
        return f"the name servers could not answer: {escape(str(error))}"
    if isinstance(error, dns.name.LabelTooLong | dns.name.NameTooLong):
        return "a part of the name, or all of it, is too long for the DNS"
    return escape(str(error))


class Backend:
    """The I/O of the resolver: that of dnspython for asyncio, except for UDP sockets.

    uvloop leaves such a socket open if the call that opens it is cancelled. So that
    call always runs to its end, which takes no time.
    """

    def __init__(self) -> None:
        self._backend: Any = dns.asyncbackend.get_backend("asyncio")

    def __getattr__(self, name: str) -> Any:
        """Return the rest of the backend."""
        return getattr(self._backend, name)

    async def make_socket(
        self, af: int, socktype: int, *args: Any, **options: Any
    ) -> Any:
        """Return a socket; after a cancellation none is left open."""
        opening = self._backend.make_socket(af, socktype, *args, **options)
        if socktype != socket.SOCK_DGRAM:
            return await opening
        task = asyncio.ensure_future(opening)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait((task,))
            if task.exception() is None:
                await task.result().close()
            raise
