"""Escaping of text from the other side, for log lines and the texts of errors.

A reason string, a client identifier or a topic may hold any characters: line breaks
that forge a log line, terminal control sequences, characters that reverse the direction
of writing. Attributes for programs (`error.reason_string`) keep the original; text for
people is escaped here.
"""

from typing import Final

# The number of characters shown by default; an escaped one counts as one.
LONGEST: Final = 200


def escape(text: str, longest: int = LONGEST) -> str:
    r"""Return a text on one line, with the characters escaped that are not printable.

    These are the characters that `str.isprintable` rejects: control characters
    (``\n``, ``\x1b``, ``\x9b``), line and paragraph separators, marks that change the
    direction of writing, invisible ones, lone surrogates. They are escaped as in
    ``repr()``. Ordinary text is returned unchanged.

    Args:
        text: The text.
        longest: The number of characters to show; if the text has more, the number of
            the remaining ones follows.
    """
    shown = text[:longest]
    if not shown.isprintable():
        shown = "".join(
            character if character.isprintable() else repr(character)[1:-1]
            for character in shown
        )
    if len(text) > longest:
        shown += f"... ({len(text)} characters)"
    return shown


def quote(text: str, longest: int = LONGEST) -> str:
    """Return the escaped text in quotation marks, for texts that may be empty."""
    return f"'{escape(text, longest)}'"
