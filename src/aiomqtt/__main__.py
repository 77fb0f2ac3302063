"""The command line as `python -m aiomqtt`; installed, it is also `aiomqtt`."""

import sys

from .cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main(program="python -m aiomqtt"))
