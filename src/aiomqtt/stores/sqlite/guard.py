"""What the statements of a program may do in a file that has a session, too."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from .schema import PREFIX

# The values of the parameters of a statement.
Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]

# SQLite asks when it compiles a statement, and keeps what it has compiled, by its text:
# this keeps a program's statements apart from ours.
_MARK: Final = "/* program */ "

# Actions whose first argument is a table that they change.
_CHANGES: Final = {
    sqlite3.SQLITE_INSERT,
    sqlite3.SQLITE_UPDATE,
    sqlite3.SQLITE_DELETE,
    sqlite3.SQLITE_CREATE_TABLE,
    sqlite3.SQLITE_DROP_TABLE,
    sqlite3.SQLITE_CREATE_VIEW,
    # SQLite would take it for the table of that name.
    sqlite3.SQLITE_CREATE_TEMP_TABLE,
    sqlite3.SQLITE_CREATE_TEMP_VIEW,
}
# The second argument is the table.
_ADDITIONS: Final = {
    sqlite3.SQLITE_ALTER_TABLE,
    sqlite3.SQLITE_CREATE_INDEX,
    sqlite3.SQLITE_DROP_INDEX,
    sqlite3.SQLITE_CREATE_TRIGGER,
    sqlite3.SQLITE_DROP_TRIGGER,
    sqlite3.SQLITE_CREATE_TEMP_TRIGGER,
}
_NEVER: Final = {
    # It would end the transaction, or begin one.
    sqlite3.SQLITE_TRANSACTION,
    sqlite3.SQLITE_ATTACH,
    sqlite3.SQLITE_DETACH,
}
# The others change how the file is written.
_PRAGMAS: Final = {
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "table_info",
    "table_list",
    "table_xinfo",
}


class Guard:
    """Decides on each statement of a connection when SQLite compiles it.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._is_program = False
        connection.set_authorizer(self._authorize)

    def execute(self, statement: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        """Execute a statement of the program.

        Raises:
            ValueError: It must not do what it does.
            sqlite3.Error: It fails.
        """
        self._is_program = True
        try:
            return self._connection.execute(_MARK + statement, parameters)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_AUTH:
                raise
            msg = (
                "a statement within a transaction of the session must not begin or end"
                f" a transaction, attach files, change tables named {PREFIX}*, or use"
                f" pragmas that do: {statement!r}"
            )
            raise ValueError(msg) from error
        finally:
            self._is_program = False

    def _authorize(
        self, action: int, first: str | None, second: str | None, *_: str | None
    ) -> int:
        if not self._is_program:
            return sqlite3.SQLITE_OK
        is_forbidden = (
            action in _NEVER
            or (action in _CHANGES and _is_ours(first))
            or (action in _ADDITIONS and (_is_ours(first) or _is_ours(second)))
            or (action == sqlite3.SQLITE_PRAGMA and (first or "") not in _PRAGMAS)
        )
        return sqlite3.SQLITE_DENY if is_forbidden else sqlite3.SQLITE_OK


def _is_ours(name: str | None) -> bool:
    return (name or "").lower().startswith(PREFIX)
