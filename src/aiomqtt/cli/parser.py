"""The command line parser; its errors take one line and reveal no secret."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser that prints an error on one line and points to the help on the next.

    It never repeats an unknown argument, which may be a misplaced password.
    """

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse; refuse unknown arguments here, where the command is known."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            names = [name for one in unknown if (name := _name_of(one))]
            if names:
                self.error(f"unknown option: {', '.join(names)}")
            self.error("too many arguments")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Print the error, and exit with 2."""
        line = " ".join(message.split())
        self.exit(2, f"{self.prog}: {line}\nTry '{self.prog} --help'.\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = ", ".join(map(str, action.choices))
            raise argparse.ArgumentError(action, f"choose one of: {known}")


def _name_of(argument: str) -> str:
    """Return the option of an argument without its value; "" for a bare value."""
    if argument == "--":
        return ""
    if argument.startswith("--"):
        return argument.partition("=")[0]
    return argument[:2] if argument.startswith("-") else ""
