"""The store that keeps the session of one client on a Redis or Valkey server."""

import asyncio
import contextlib
import logging
import secrets
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from aiomqtt.argument_checks import check_finite, check_type
from aiomqtt.protocol.changes import Change, StoredDelivery
from aiomqtt.protocol.delivery import QUEUED, RELEASED, SENT
from aiomqtt.protocol.wire import PacketError
from aiomqtt.stores.base import (
    FIRST_PLACE,
    OpenedSession,
    SessionStoreError,
    StoredReceipt,
)
from aiomqtt.stores.holder import parse_holder, this_process

from .errors import damage, refusal
from .scripts import CLOSE, FORMAT, LOAD, OPEN, RECEIPTS, RENEW
from .server import Durability, RedisServer
from .values import pairs, to_delivery, to_receipt, to_state, to_texts

DAY: Final = 86_400.0  # seconds
_LOG: Final = logging.getLogger("aiomqtt")
# How many deliveries, and bytes of them, are read at a time.
_PAGE: Final = 1000
_PAGE_SIZE: Final = 4 * 1024 * 1024
_MS: Final = 1000  # milliseconds per second
# The server counts in milliseconds, and takes 0 of them for ever.
_SHORTEST: Final = 0.01  # seconds


class _Known(NamedTuple):
    """What the server has of a session, as far as we know."""

    owner: str
    commits: int
    generation: int


class RedisSessionStore:
    """Keeps the session of one client on a Redis or Valkey server: see `SessionStore`.

    Each group of changes is one script, and one round trip. The script refuses the
    changes if somebody else has opened the session since, or if the server has lost an
    earlier group.

    The session is leased to the client that has it open, which renews the lease. If its
    process is killed, the lease expires, and another client that is being entered waits
    for that.

    What is stored is as safe as the server keeps it:

    - `appendonly yes` and `appendfsync always`: each group is on the disk of the server
      before it counts as stored.
    - `appendonly yes` and `appendfsync everysec`: if the server is killed or loses
      power, the last one or two seconds may be lost. A client that is entered
      then notices, and is told that its session could not be stored.
    - With ``wait_replicas``, so many replicas have a group in their memory before it
      counts as stored: it survives the loss of the server if one of them takes over.

    The user of the server needs the commands INFO, CONFIG GET, EVAL, EVALSHA, WAIT with
    ``wait_replicas``, and those that the scripts run on the keys
    ``aiomqtt:{NAME}:*``.

    Args:
        url: The server: ``redis://USER:PASSWORD@HOST:PORT/DATABASE``, ``rediss://``
            with TLS, or ``unix://PATH``, as redis-py takes it.
        name: The name of the session, part of the names of its keys; None: the client
            identifier.
        durability: "normal": the server has to have an append-only file. "full": it has
            to have `appendfsync always`. "none": any server, which may lose the
            session when it stops.
        wait_replicas: How many replicas have to have each group of changes; 0: none.
        timeout: How many seconds the server may take to answer, and half of them the
            replicas.
        lease: How many seconds after the end of a process that was killed the session
            can be opened again.
        keep_receipts: How many seconds the receipts of finished messages are kept.
        clock: Returns the seconds since the epoch.

    Raises:
        ValueError: An argument has no such value.
        TypeError: An argument has a wrong type.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str | None = None,
        durability: Durability = "normal",
        wait_replicas: int = 0,
        timeout: float = 5.0,
        lease: float = 15.0,
        keep_receipts: float = DAY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if durability not in ("none", "normal", "full"):
            msg = f'durability must be "none", "normal" or "full", not {durability!r}'
            raise ValueError(msg)
        check_type("name", name, str, type(None))
        check_type("wait_replicas", wait_replicas, int)
        if name == "":
            msg = "name must not be empty; None stands for the client identifier"
            raise ValueError(msg)
        if wait_replicas < 0:
            msg = f"wait_replicas must be 0 or more, not {wait_replicas!r}"
            raise ValueError(msg)
        for what, seconds in (("timeout", timeout), ("lease", lease)):
            check_finite(what, seconds, _SHORTEST)
        if not keep_receipts >= 0:
            msg = f"keep_receipts must be 0 or more seconds, not {keep_receipts!r}"
            raise ValueError(msg)
        RedisServer(url, timeout, name or "")  # It raises ValueError.
        self._url = url
        self._name = name
        self._durability: Durability = durability
        self._wait_replicas = wait_replicas
        self._timeout = timeout
        self._lease = lease
        self._keep_receipts = keep_receipts
        self._clock = clock
        # Valid as long as this object.
        self._known: _Known | None = None
        # Valid from `open` to `close`.
        self._server: RedisServer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owner = ""
        self._commits = 0
        # 0: it is not read yet.
        self._generation = 0
        self._has_failed = False
        self._renewal: asyncio.Task[None] | None = None
        # It may still be giving the lease back, if `close` was cancelled.
        self._closing: asyncio.Task[None] | None = None

    async def open(self, client_id: str, window: int) -> OpenedSession:
        """See `SessionStore.open`."""
        if self._server is not None:
            reason = "it is in use by this session already: close it first"
            raise refusal(self._server.place, reason)
        if not (self._name or client_id):
            msg = "The session needs a name: give the client an identifier"
            raise SessionStoreError(msg)
        loop = asyncio.get_running_loop()
        if self._closing is not None and self._closing.get_loop() is loop:
            await asyncio.wait((self._closing,))
        self._closing = None
        server = RedisServer(self._url, self._timeout, self._name or client_id)
        self._server, self._loop = server, loop
        self._owner, self._commits = secrets.token_hex(16), 0
        self._generation = 0
        self._has_failed = False
        try:
            await server.check(self._durability, _LOG)
            opened = await self._open(server, client_id, window)
        except BaseException:
            await self.close()
            raise
        return opened

    async def _open(
        self, server: RedisServer, client_id: str, window: int
    ) -> OpenedSession:
        reply = await self._take_lease(server, client_id)
        # Reading may take long.
        self._renewal = asyncio.ensure_future(self._renew(server, self._owner))
        _, flat, blocked, received, flows, subscriptions, counts = reply
        values = pairs(flat)
        with _reading(server.place):
            state = to_state(
                values, blocked, received, pairs(flows), pairs(subscriptions)
            )
            queued, sent, released, total = map(int, counts)
            if queued + sent + released != total:
                msg = f"it has {total} deliveries, not {queued + sent + released}"
                raise ValueError(msg)
            generation = int(values[b"generation"])
            size = int(values.get(b"waiting_size", 0))
        ended = await self._load(server, RELEASED, released)
        waiting = await self._load(server, QUEUED, min(window, queued))
        unreceived = await self._load(server, SENT, sent) + waiting
        unreceived.sort(key=lambda one: one[0])
        for _, delivery in (*ended, *unreceived):
            state.deliveries[delivery.sequence] = delivery
        for _, one in waiting:
            size -= len(one.topic.encode()) + len(one.payload)
        self._generation = generation
        place = waiting[-1][0] if waiting else FIRST_PLACE
        left = queued - len(waiting)
        # Each of them may have QoS 0.
        return OpenedSession(state, place, left, size, left, generation)

    async def _take_lease(self, server: RedisServer, client_id: str) -> Any:
        """Take the lease; return the session.

        If another process has it that was killed, wait until it expires.
        """
        known = self._known or _Known("", 0, 0)
        text = this_process().to_text()
        before: int | None = None
        while True:
            reply = await server.run(
                OPEN,
                client_id,
                self._owner,
                text,
                int(self._lease * _MS),
                FORMAT,
                *known,
            )
            kind, *rest = reply
            if kind == b"opened":
                return reply
            if kind == b"held":
                left = rest[1]
                # Its holder has renewed it: it lives.
                if left < 0 or (before is not None and left > before):
                    raise refusal(server.place, _in_use(rest[0]))
                before = left
                await asyncio.sleep(min(left / _MS + 0.005, self._lease / 10))
            elif kind == b"format":
                reason = (
                    f"a newer version of aiomqtt has stored it (format"
                    f" {rest[0].decode()}): update aiomqtt here"
                )
                raise refusal(server.place, reason)
            else:
                reason = (
                    f"it belongs to the client identifier {rest[0].decode()!r}, not to"
                    f" {client_id!r}: use another name for each client"
                )
                raise refusal(server.place, reason)

    async def _load(
        self, server: RedisServer, state: int, count: int, after: int | None = None
    ) -> list[tuple[int, StoredDelivery]]:
        """Return the first deliveries in a state, with their places."""
        found: list[tuple[int, StoredDelivery]] = []
        while len(found) < count:
            kind, *flat = await server.run(
                LOAD,
                self._owner,
                state,
                "" if after is None else after,
                len(found),
                min(_PAGE, count - len(found)),
                _PAGE_SIZE,
            )
            if kind == b"lost":
                raise _lost(server)
            if not flat:
                break
            with _reading(server.place):
                for start in range(0, len(flat), 4):
                    sequence, place, values, message = flat[start : start + 4]
                    if values is None or (message is None and state != RELEASED):
                        msg = f"a part of delivery {int(sequence)} is missing"
                        raise ValueError(msg)
                    delivery = to_delivery(int(sequence), values, message)
                    found.append((int(place), delivery))
        return found

    async def commit(self, changes: Sequence[Change]) -> None:
        """See `SessionStore.commit`."""
        server = self._opened()
        if self._has_failed:
            reason = "it could not be stored: enter the client again"
            raise refusal(server.place, reason)
        now = self._clock()
        arguments: list[bytes | str | float] = [
            self._owner,
            self._commits,
            repr(now),
            int(self._lease * _MS),
            repr(now - self._keep_receipts),
            *to_texts(changes),
        ]
        # If this fails, the number of commits may be another one.
        self._has_failed = True
        reply = await server.commit(self._wait_replicas, arguments)
        if reply == b"lost":
            raise _lost(server)
        if reply == b"behind":
            reason = (
                "the server has lost what was stored last: enter the client again,"
                " and set `appendfsync always` on the server"
            )
            raise refusal(server.place, reason)
        self._commits += 1
        self._has_failed = False

    async def load_queued(
        self, after: int, count: int
    ) -> list[tuple[int, StoredDelivery]]:
        """See `SessionStore.load_queued`."""
        return await self._load(self._opened(), QUEUED, count, after)

    async def find_receipt(self, receipt_id: str) -> StoredReceipt | None:
        """See `SessionStore.find_receipt`."""
        found = await self._read_receipts(receipt_id) if receipt_id else []
        return found[0] if found else None

    async def list_receipts(self) -> list[StoredReceipt]:
        """See `SessionStore.list_receipts`."""
        return await self._read_receipts("")

    async def _read_receipts(self, receipt_id: str) -> list[StoredReceipt]:
        server = self._opened()
        kind, *rest = await server.run(RECEIPTS, self._owner, receipt_id)
        if kind == b"lost":
            raise _lost(server)
        with _reading(server.place):
            found = [to_receipt(*one) for one in pairs(rest[0]).items()]
        oldest = self._clock() - self._keep_receipts
        found.sort(key=lambda one: (one[1].changed_at, one[0]))
        return [
            receipt
            for _, receipt in found
            if receipt.changed_at > oldest or receipt.state in ("queued", "in flight")
        ]

    async def close(self) -> None:
        """See `SessionStore.close`."""
        server, self._server = self._server, None
        if server is None:
            return
        renewal, self._renewal = self._renewal, None
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # The event loop of its connections was closed: they can't be used.
            server = server.renewed()
            renewal = None
        if self._generation:
            # What the server will have.
            commits = -1 if self._has_failed else self._commits
            owner = f"closed {self._owner}"
            self._known = _Known(owner, commits, self._generation)
        self._closing = loop.create_task(_close(server, self._owner, renewal))
        # It goes on, even if we are cancelled.
        await asyncio.shield(self._closing)

    async def _renew(self, server: RedisServer, owner: str) -> None:
        """Renew the lease until it is lost or we are cancelled."""
        while True:
            await asyncio.sleep(self._lease / 3)
            # If the server can't be reached, it may be so again until it expires.
            with contextlib.suppress(SessionStoreError):
                if await server.run(RENEW, owner, int(self._lease * _MS)) == b"lost":
                    return

    def _opened(self) -> RedisServer:
        if self._server is None:
            msg = "The session is not open: enter the client first"
            raise SessionStoreError(msg)
        return self._server


async def _close(
    server: RedisServer, owner: str, renewal: asyncio.Task[None] | None
) -> None:
    if renewal is not None:
        renewal.cancel()
        await asyncio.wait((renewal,))
    await server.settle()
    # If it can't be reached, the lease expires.
    with contextlib.suppress(SessionStoreError):
        await server.run(CLOSE, owner)
    with contextlib.suppress(SessionStoreError):
        await server.close()


@contextlib.contextmanager
def _reading(place: str) -> Iterator[None]:
    """Turn the errors of values that can't be into SessionStoreError."""
    try:
        yield
    except (PacketError, struct.error, ValueError, TypeError, KeyError) as error:
        raise damage(place, str(error)) from error


def _lost(server: RedisServer) -> SessionStoreError:
    reason = (
        "another client has opened it, since its lease had expired, or the server has"
        " lost it: enter the client again when no other has it"
    )
    return refusal(server.place, reason)


def _in_use(text: bytes) -> str:
    who = parse_holder(text) or "another process"
    return f"it is in use by {who}: end that first, or choose another name"
