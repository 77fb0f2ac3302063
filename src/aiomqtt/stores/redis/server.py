"""The server of a session: what it is asked for, and whether it keeps what it gets."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Sequence
from typing import Any, Final, Literal, TypeAlias, TypeVar

from redis import exceptions
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from .errors import explained, refusal
from .scripts import COMMIT, KEYS

Durability: TypeAlias = Literal["none", "normal", "full"]

T = TypeVar("T")

# Milliseconds per second.
_MS: Final = 1000
_COMMIT_HASH: Final = hashlib.sha1(COMMIT.encode()).hexdigest()


class RedisServer:
    """A connection to the server, for one session.

    Args:
        url: The URL, as redis-py takes it.
        timeout: How many seconds the server may take to answer.
        name: The name of the session.

    Raises:
        ValueError: It is no such URL.
    """

    def __init__(self, url: str, timeout: float, name: str) -> None:
        self._url = url
        self._timeout = timeout
        self._name = name
        # No command is repeated: a group of changes may have been stored. Version 2 of
        # the protocol: a connection that the server has closed is noticed before it is
        # used.
        pool = ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
        )
        # Whatever the URL says.
        pool.connection_kwargs.update(decode_responses=False)
        # The types of its methods are those of the blocking client, too.
        self._client: Any = Redis.from_pool(pool)
        # The braces put all keys of a session on one node of a cluster.
        escaped = name.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")
        self._keys = [f"aiomqtt:{{{escaped}}}:{end}" for end in KEYS]
        self._place = _describe(pool, name)
        self._calls: set[asyncio.Task[Any]] = set()

    def renewed(self) -> "RedisServer":
        """Return another one like it, which has no connections yet."""
        return RedisServer(self._url, self._timeout, self._name)

    @property
    def place(self) -> str:
        """The server and the name of the session, for errors."""
        return self._place

    async def run(self, script: str, *arguments: bytes | str | float) -> Any:
        """Run a script on the keys of the session; return its reply.

        Raises:
            SessionStoreError: That has failed.
        """
        with explained(self._place):
            return await self._finish(
                self._client.execute_command(
                    "EVAL", script, len(KEYS), *self._keys, *arguments
                )
            )

    async def commit(
        self, replicas: int, arguments: Sequence[bytes | str | float]
    ) -> Any:
        """Run the script that stores changes, in one round trip.

        Args:
            replicas: How many replicas have to have them.
            arguments: The arguments of the script.

        Raises:
            SessionStoreError: That has failed, or too few replicas have them.
        """
        with explained(self._place):
            reply, count = await self._finish(self._commit(replicas, arguments))
        if count < replicas:
            reason = (
                f"only {count} of {replicas} replicas have confirmed the changes in"
                f" {self._timeout / 2:g} s: check them, then enter the client again"
            )
            raise refusal(self._place, reason)
        return reply

    async def _commit(
        self, replicas: int, arguments: Sequence[bytes | str | float]
    ) -> tuple[Any, int]:
        """Return the reply and how many replicas have confirmed it."""
        # The server has the script until it is started again.
        replies: list[Any] = []
        for script in (("EVALSHA", _COMMIT_HASH), ("EVAL", COMMIT)):
            pipeline = self._client.pipeline(transaction=False)
            pipeline.execute_command(*script, len(KEYS), *self._keys, *arguments)
            if replicas:
                # Half of the time, so that the server answers in time.
                limit = int(self._timeout / 2 * _MS)
                pipeline.execute_command("WAIT", replicas, limit)
            replies = await pipeline.execute(raise_on_error=False)
            if not isinstance(replies[0], exceptions.NoScriptError):
                break
        for one in replies:
            if isinstance(one, Exception):
                raise one
        return replies[0], replies[1] if replicas else 0

    async def _finish(self, call: Awaitable[T]) -> T:
        """Make a call; if we are cancelled, it goes on until `settle`.

        redis-py may lose a cancellation. And what was sent may have its effect later,
        if nobody waits for the reply.
        """
        task = asyncio.ensure_future(call)
        self._calls.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._calls.discard(task)
        if not task.cancelled():
            # If we were cancelled, nobody asks for it.
            task.exception()

    async def settle(self) -> None:
        """Wait until the calls that were cancelled have ended."""
        while self._calls:
            await asyncio.wait(self._calls)

    async def close(self) -> None:
        """Close the connections."""
        with explained(self._place):
            await self._client.aclose()

    # --- whether it keeps what it gets -----------------------------------------------

    async def check(self, durability: Durability, log: logging.Logger) -> None:
        """Check that the server keeps what it gets.

        Args:
            durability: What is wanted of it.
            log: Gets a warning if the server does not tell.

        Raises:
            SessionStoreError: It does not.
        """
        if durability == "none":
            return
        with explained(self._place):
            try:
                found: dict[str, Any] = await self._finish(
                    self._client.info("persistence")
                )
                found |= await self._finish(self._client.info("memory"))
            except exceptions.NoPermissionError:
                self._warn(log, "INFO", "that it keeps an append-only file")
                found = {"aof_enabled": 1}
            if not found["aof_enabled"]:
                reason = (
                    "the server has no append-only file, so it would lose the session"
                    " when it stops: set `appendonly yes` there, or choose"
                    ' durability="none"'
                )
                raise refusal(self._place, reason)
            policy = str(found.get("maxmemory_policy", ""))
            if policy.startswith("allkeys") and found.get("maxmemory"):
                reason = (
                    "the server deletes any keys when its memory is full: set"
                    " `maxmemory-policy noeviction` there, or choose"
                    ' durability="none"'
                )
                raise refusal(self._place, reason)
            if durability == "full":
                await self._check_appendfsync(log)

    async def _check_appendfsync(self, log: logging.Logger) -> None:
        try:
            found = await self._finish(self._client.config_get("appendfsync"))
        except exceptions.ResponseError:
            # It is forbidden, or the provider of the server has removed it.
            self._warn(log, "CONFIG GET", "`appendfsync always`")
            return
        if found.get("appendfsync") != "always":
            reason = (
                "the server may lose the last second: set `appendfsync always` there,"
                ' or choose durability="normal"'
            )
            raise refusal(self._place, reason)

    def _warn(self, log: logging.Logger, command: str, what: str) -> None:
        log.warning(
            "%s: the server does not allow %s, so nothing tells whether it has %s",
            self._place,
            command,
            what,
        )


def _describe(pool: ConnectionPool, name: str) -> str:
    """Return the server and the name of the session, without credentials."""
    values = pool.connection_kwargs
    place = values.get("path")
    if place is None:
        place = f"{values.get('host', 'localhost')}:{values.get('port', 6379)}"
    return f"session {name!r} on the Redis server {place}"
