"""Topic names and topic filters (MQTT 5.0 §4.7)."""

from dataclasses import dataclass
from typing import Final, TypeAlias

from .escaping import escape
from .standard.names import MAXIMUM_STRING_LENGTH

_SHARE: Final = "$share/"


def is_shared(topic_filter: str) -> bool:
    """Return whether a filter is that of a shared subscription (§4.8.2)."""
    return topic_filter.startswith(_SHARE)


def split_shared(topic_filter: str) -> tuple[str, str]:
    """Return the share name and the filter; of a filter that is not shared "" and it.

    Both are empty where the text has no such part; `check_topic_filter` refuses that.
    """
    if not is_shared(topic_filter):
        return "", topic_filter
    name, _, rest = topic_filter[len(_SHARE) :].partition("/")
    return name, rest


def _text_fault(value: str) -> str | None:
    """Return the rule for topics and filters alike that a text breaks (§4.7.3)."""
    if not value:
        return "must have at least one character"
    if "\x00" in value:
        return "must not contain U+0000"
    # A character is at most four bytes, so a short text need not be encoded to tell.
    if len(value) * 4 > MAXIMUM_STRING_LENGTH or not value.isascii():
        try:
            length = len(value.encode())
        except UnicodeEncodeError:
            return "must be well-formed UTF-8, without surrogates"
        if length > MAXIMUM_STRING_LENGTH:
            return f"must be at most 65535 bytes of UTF-8, not {length}"
    return None


def topic_name_fault(value: str) -> str | None:
    """Return why a str is not a topic name, to publish to, or None if it is one."""
    if "+" in value or "#" in value:
        return "must not contain the wildcards + and #"
    return _text_fault(value)


def _has_whole_wildcards(value: str) -> bool:
    """Return whether + and # each fill a whole level, and # only the last.

    It makes no list of the levels: a packet may have hundreds of thousands.
    """
    pluses = value.count("+")
    if pluses and not (
        f"/{value}".count("/+") == pluses and f"{value}/".count("+/") == pluses
    ):
        return False
    hashes = value.count("#")
    return not hashes or (hashes == 1 and f"/{value}".endswith("/#"))


def topic_filter_fault(value: str) -> str | None:
    """Return why a str is not a topic filter, to subscribe to, or None if it is one."""
    if ("+" in value or "#" in value) and not _has_whole_wildcards(value):
        if "#" in value.split("/")[:-1]:
            return "must have # as the last level only"
        return "must have + and # as whole levels only"
    return _text_fault(value)


@dataclass(frozen=True)
class Wildcard:
    """A topic filter: can be subscribed to, not published to.

    Args:
        value: The filter; ``+`` stands for one level, ``#`` for all that follow.

    Raises:
        TypeError: The value is not a str.
        ValueError: The filter is empty, longer than 65535 bytes of UTF-8, or has a
            misplaced ``+`` or ``#``.
    """

    value: str

    def __str__(self) -> str:
        """Return the filter."""
        return self.value

    def __post_init__(self) -> None:
        """Validate the filter."""
        if not isinstance(self.value, str):
            msg = "Wildcard must be of type str"
            raise TypeError(msg)
        if topic_filter_fault(self.value) is not None:
            msg = f"Invalid wildcard: {escape(self.value)}"
            raise ValueError(msg)


WildcardLike: TypeAlias = str | Wildcard


# Inherits the methods that would be equal: generating them again takes time.
@dataclass(frozen=True, init=False, repr=False, eq=False)
class Topic(Wildcard):
    """A topic name: can be published to and subscribed to.

    Args:
        value: The name.

    Raises:
        TypeError: The value is not a str.
        ValueError: The name is empty, longer than 65535 bytes of UTF-8, or holds a
            wildcard.
    """

    def __post_init__(self) -> None:
        """Validate the name."""
        if not isinstance(self.value, str):
            msg = "Topic must be of type str"
            raise TypeError(msg)
        if topic_name_fault(self.value) is not None:
            msg = f"Invalid topic: {escape(self.value)}"
            raise ValueError(msg)

    def matches(self, wildcard: WildcardLike) -> bool:
        """Return whether the topic matches a filter (MQTT 5.0 §4.7).

        ``$share/<group>/<filter>`` matches what its filter matches. A filter that
        begins with a wildcard does not match a topic that begins with ``$``.

        Args:
            wildcard: The filter.

        Raises:
            TypeError: The filter is neither a str nor a Wildcard.
            ValueError: The filter is invalid.
        """
        if not isinstance(wildcard, Wildcard):
            wildcard = Wildcard(wildcard)
        filter_levels = wildcard.value.split("/")
        if filter_levels[0] == "$share":
            filter_levels = filter_levels[2:]
        levels = self.value.split("/")
        if filter_levels[:1] in (["+"], ["#"]) and self.value.startswith("$"):
            return False
        for index, level in enumerate(filter_levels):
            if level == "#":
                return True
            if index >= len(levels) or level not in ("+", levels[index]):
                return False
        return len(levels) == len(filter_levels)


TopicLike: TypeAlias = str | Topic


def to_text(name: str, value: object) -> str:
    """Return the text of a topic or filter: a str, a Topic or a Wildcard.

    Args:
        name: The name of the argument, for the error.
        value: The argument.

    Raises:
        TypeError: The argument is none of these.
    """
    if isinstance(value, Wildcard):
        return value.value
    if not isinstance(value, str):
        msg = f"{name} must be str, not {type(value).__name__}"
        raise TypeError(msg)
    return value
