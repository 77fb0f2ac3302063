"""The command line: `python -m aiomqtt`, or `aiomqtt` once installed."""

import sys

from .cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main(program="python -m aiomqtt"))
