"""The session that is kept in a SQLite file.

Like all coroutines that wait, these are not compiled.
"""

import os

from aiomqtt.stores.sqlite.file import Durability
from aiomqtt.stores.sqlite.session_store import DAY, SQLiteSessionStore

from .durable_async import DurableSession, not_open
from .transaction_async import LIMIT, Transaction


class SQLiteSession(DurableSession):
    """A session that is kept in a SQLite file: see `DurableSession`.

    SQLite comes with Python. The file is used in a thread of its own, so the event loop
    never waits for the disk, and all that gathers while one group of changes is written
    is the next group.

    Args:
        path: The file, on a local disk; it is created if there is none, its directory
            is not. Each client has a file of its own.
        durability: "normal": what is stored survives the process, however it ends; if
            the power is lost, or the system crashes, the last moments may be lost.
            "full": it survives that, too; each group waits until the disk has it.
        keep_receipts: How many seconds the receipts of finished messages are kept.

    Raises:
        ValueError: An argument has no such value.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "normal",
        keep_receipts: float = DAY,
    ) -> None:
        store = SQLiteSessionStore(
            path, durability=durability, keep_receipts=keep_receipts
        )
        super().__init__(store)
        self._file = store

    def transaction(self, *, timeout: float | None = LIMIT) -> Transaction:
        """Return a transaction, for ``async with session.transaction() as tx:``.

        What ``tx.execute`` writes, the messages of ``tx.publish`` and those that
        ``tx.acknowledge`` acknowledges are committed together, or not at all. Messages
        and acknowledgements leave after the commit.

        Args:
            timeout: How many seconds the block may take, with waiting for its turn;
                then it is cancelled, and rolled back. ``None``: any time.

        Raises:
            SessionStoreError: The client that has the session is not entered.
        """
        if self._keeper is None:
            raise not_open()
        return Transaction(self._keeper, self._file, timeout)
