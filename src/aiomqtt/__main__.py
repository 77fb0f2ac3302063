"""The command line: `python -m aiomqtt`."""

import argparse
import platform

from . import __build__, __version__


def main() -> None:
    """Answer what the arguments ask for."""
    parser = argparse.ArgumentParser(
        prog="python -m aiomqtt", description="The asyncio MQTT client for Python."
    )
    python = f"{platform.python_implementation()} {platform.python_version()}"
    parser.add_argument(
        "--version",
        action="version",
        version=f"aiomqtt {__version__} ({__build__}, {python})",
        help="print the version and which build runs, compiled or pure",
    )
    parser.parse_args()
    parser.print_help()


if __name__ == "__main__":
    main()
