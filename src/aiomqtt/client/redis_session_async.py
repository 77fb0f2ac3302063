"""The session that is kept on a Redis or Valkey server.

Like all coroutines that wait, these are not compiled.
"""

from typing import TYPE_CHECKING

from .durable_async import DurableSession

if TYPE_CHECKING:
    from aiomqtt.stores.redis.server import Durability


class RedisSession(DurableSession):
    """A session that is kept on a Redis or Valkey server: see `DurableSession`.

    It is for programs that have no disk of their own. It needs
    ``pip install "aiomqtt[redis]"``.

    A client has the session to itself. If its process is killed, the session can be
    opened again when its lease has expired; a client that is being entered waits for
    that.

    Args:
        url: The server: ``redis://USER:PASSWORD@HOST:PORT/DATABASE``, ``rediss://``
            with TLS, or ``unix://PATH``, as redis-py takes it.
        name: The name of the session: its keys begin with ``aiomqtt:{NAME}:``.
            ``None``: the client identifier.
        durability: "normal": the server has to have an append-only file; what is stored
            survives this process, however it ends. With Redis's `appendfsync everysec`
            the last one or two seconds may be lost if the server is killed or loses
            power. "full": it has to have `appendfsync always`, and nothing is lost
            then. "none": any server, also one that loses the session when it stops.
        wait_replicas: How many replicas have to have each group of changes before what
            depends on it leaves; 0: none.
        timeout: How many seconds the server may take to answer, and half of them the
            replicas. Then the client ends with SessionStoreError.
        lease: How many seconds after the end of a process that was killed the session
            can be opened again. It must be longer than the event loop ever blocks.
        keep_receipts: How many seconds the receipts of finished messages are kept.

    Raises:
        ValueError: An argument has no such value.
        TypeError: An argument has a wrong type.
        ImportError: redis-py is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str | None = None,
        durability: "Durability" = "normal",
        wait_replicas: int = 0,
        timeout: float = 5.0,
        lease: float = 15.0,
        keep_receipts: float = 86_400.0,
    ) -> None:
        try:
            from aiomqtt.stores.redis.session_store import RedisSessionStore
        except ImportError as error:
            msg = 'RedisSession needs a package: pip install "aiomqtt[redis]"'
            raise ImportError(msg) from error
        store = RedisSessionStore(
            url,
            name=name,
            durability=durability,
            wait_replicas=wait_replicas,
            timeout=timeout,
            lease=lease,
            keep_receipts=keep_receipts,
        )
        super().__init__(store)
