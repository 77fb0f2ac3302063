"""The other side's words, made fit for a log line or the text of an error.

A reason string, a client identifier or a topic may hold whatever the other side likes:
line breaks that forge a log line, sequences that a terminal obeys, characters that turn
the direction of writing around. What is meant for a program stays as it came
(`error.reason_string`); what is meant for people passes through here.
"""

from typing import Final

# So many characters are shown, in which one that is escaped counts as one.
LONGEST: Final = 200


def escape(text: str, longest: int = LONGEST) -> str:
    r"""Return a text in one line, without what a terminal or a reader could trip over.

    Characters that Python does not call printable become escapes as in ``repr()``:
    control characters (``\n``, ``\x1b``, ``\x9b``), line and paragraph separators,
    marks that change the direction of writing, invisible ones, lone surrogates. All
    others stay, so an ordinary text is returned as it is.

    Args:
        text: The text.
        longest: How many of its characters are shown; if it has more, their number
            follows.
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
    """Return a text as `escape` does, in quotation marks: for what may be empty."""
    return f"'{escape(text, longest)}'"
