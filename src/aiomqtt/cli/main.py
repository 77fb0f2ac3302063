"""The entry point of the command line."""

import platform
from collections.abc import Sequence

from aiomqtt import __build__, __version__

from . import broker, session
from .parser import Parser


def main(arguments: Sequence[str] | None = None, *, program: str = "aiomqtt") -> int:
    """Run the command; return the exit code.

    Args:
        arguments: The arguments after the name of the program; ``None``: those of this
            process.
        program: The name of the program in help and error messages.

    Raises:
        SystemExit: With 2: the arguments are wrong. With 0: help or the version was
            requested and printed.
    """
    parser = Parser(
        prog=program,
        description="The asyncio MQTT client for Python.",
        allow_abbrev=False,
    )
    python = f"{platform.python_implementation()} {platform.python_version()}"
    parser.add_argument(
        "--version",
        action="version",
        version=f"aiomqtt {__version__} ({__build__}, {python})",
        help="print the version and which build runs, compiled or pure",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    broker.add_command(commands)
    session.add_command(commands)
    options = parser.parse_args(arguments)
    if "run" not in options:
        parser.print_help()
        return 0
    code: int = options.run(options)
    return code
