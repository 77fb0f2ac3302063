"""The command `session`: looks at the file of a durable session, or moves it aside."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import Any, Final

from aiomqtt.stores.base import SessionStoreError

from .parser import Parser

DESCRIPTION: Final = """\
Look at the file in which a client keeps its session, export its messages, move it
aside, or clear it. A file that a client is using can be inspected and exported.
Exit codes: 0: done, 1: it failed, 2: wrong arguments."""

_CLEAR_QUESTION: Final = """\
This deletes {messages} messages that were not delivered, and all else that the session
{client_id!r} has in {file}, except tables of the program.
The broker may still have its own part of the session: its packet identifiers would be
used again. Connect once with a clean start before you use the identifier again.
Type "clear" to go on: """


def add_command(commands: Any) -> None:
    """Add the command to the subparsers."""
    parser: Parser = commands.add_parser(
        "session",
        help="inspect or repair the file of a durable session",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    inspect = _add(actions, "inspect", "check the file and say what is in it", _inspect)
    inspect.add_argument("--json", action="store_true", help="print one JSON object")
    _add(actions, "export", "print all messages as lines of JSON", _export)
    _add(actions, "quarantine", "move a damaged file aside, with its log", _quarantine)
    clear = _add(actions, "clear", "delete what the session has", _clear)
    clear.add_argument("--yes", action="store_true", help="do not ask")


def _add(
    actions: Any, name: str, text: str, run: Callable[[argparse.Namespace], int]
) -> Parser:
    parser: Parser = actions.add_parser(
        name, help=text, description=f"{text.capitalize()}.", allow_abbrev=False
    )
    parser.add_argument("file", metavar="FILE", help="the file of the session")
    parser.set_defaults(run=lambda options: _run(parser.prog, run, options))
    return parser


def _run(
    program: str,
    run: Callable[[argparse.Namespace], int],
    options: argparse.Namespace,
) -> int:
    try:
        code = run(options)
        sys.stdout.flush()
    except SessionStoreError as error:
        sys.stderr.write(f"{program}: {error}\n")
        return 1
    except OSError as error:
        # Else Python tries again to write the rest when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # A reader such as `head` has enough.
        if not isinstance(error, BrokenPipeError):
            sys.stderr.write(f"{program}: can't write the output: {error.strerror}\n")
        return 1
    return code


def _inspect(options: argparse.Namespace) -> int:
    # Only these commands need SQLite, which some builds of Python lack.
    from aiomqtt.stores.sqlite.inspection import inspect

    found = inspect(options.file)
    if options.json:
        sys.stdout.write(f"{json.dumps(found, ensure_ascii=False)}\n")
        return 0
    for name, value in found.items():
        sys.stdout.write(f"{name.replace('_', ' '):20}{_in_words(name, value)}\n")
    sys.stdout.write("The file is intact.\n")
    return 0


def _in_words(name: str, value: object) -> str:
    if value is None:
        return "nobody" if name == "in_use_by" else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value} bytes" if name in ("size", "waiting_bytes") else str(value)


def _export(options: argparse.Namespace) -> int:
    from aiomqtt.stores.sqlite.inspection import export

    for message in export(options.file):
        sys.stdout.write(f"{json.dumps(message, ensure_ascii=False)}\n")
    return 0


def _quarantine(options: argparse.Namespace) -> int:
    from aiomqtt.stores.sqlite.inspection import quarantine

    sys.stdout.write(f"Moved to {quarantine(options.file)}\n")
    return 0


def _clear(options: argparse.Namespace) -> int:
    from aiomqtt.stores.sqlite.inspection import clear, inspect

    found = inspect(options.file)
    if not options.yes:
        messages = sum(found[name] for name in ("waiting", "sent", "staged"))
        sys.stderr.write(_CLEAR_QUESTION.format(messages=messages, **found))
        sys.stderr.flush()
        if sys.stdin.readline().strip() != "clear":
            sys.stderr.write("Nothing was changed.\n")
            return 1
    clear(options.file)
    return 0
