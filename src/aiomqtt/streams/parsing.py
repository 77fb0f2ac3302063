"""Values that a stream makes of payloads."""

import inspect
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from aiomqtt.escaping import quote
from aiomqtt.message import Message, PendingAck

from .stream import MessageStream
from .subscription import Stream

T = TypeVar("T")
ValueT = TypeVar("ValueT", covariant=True)

if TYPE_CHECKING:
    from typing import Protocol

    class JsonValidator(Protocol[ValueT]):
        """The shape of pydantic's TypeAdapter."""

        def validate_json(self, data: bytes, /) -> ValueT:
            """Return the value of a JSON text."""
            ...

else:
    # Protocols are slow to create, and only type checkers need these.
    class JsonValidator(Generic[ValueT]):
        """Stands for it."""


Parser: TypeAlias = type[T] | Callable[[bytes], T] | JsonValidator[T]

# Called with a payload, these make something else of it than the value that it shows.
_MISLEADING: Final = (bool, dict, list, tuple, set, frozenset, bytearray, object)


class ParsedMessage(Message, Generic[ValueT]):
    """A message of a stream that parses payloads."""

    _parse: Callable[[bytes], ValueT]
    _value: ValueT

    @property
    def value(self) -> ValueT:
        """The value of the payload, parsed when it is first read.

        Raises:
            Exception: What the parser raises, with a note that names the topic. The
                stream goes on.
        """
        try:
            return self._value
        except AttributeError:
            pass
        try:
            value = self._parse(self.payload)
        except Exception as error:
            topic = quote(self.topic.value, 80)
            error.add_note(f"It is in the payload of a message to {topic}.")
            raise
        self._value = value
        return value

    def _copied_as(self) -> type[Message]:
        return Message


class ParsedStream(Stream[ParsedMessage[ValueT]]):
    """A stream whose messages have a value."""

    __slots__ = ("_parse",)

    def __init__(
        self,
        stream: MessageStream,
        parse: Callable[[bytes], ValueT],
        in_hand: set[PendingAck] | None = None,
    ) -> None:
        super().__init__(stream, in_hand)
        self._parse = parse

    def _another(self) -> "ParsedStream[ValueT]":
        return ParsedStream(self._stream, self._parse, self._in_hand)

    async def __anext__(self) -> ParsedMessage[ValueT]:
        """Return the next message; wait for it if there is none."""
        message = await super().__anext__()
        # Other streams may have the same message, and make another value of it.
        parsed: ParsedMessage[ValueT] = ParsedMessage.__new__(ParsedMessage)
        parsed.topic = message.topic
        parsed.payload = message.payload
        parsed.qos = message.qos
        parsed.retain = message.retain
        parsed.packet_id = message.packet_id
        parsed.carried = message.carried
        parsed.encoded = message.encoded
        parsed.ticket = message.ticket
        parsed.dup = message.dup
        parsed._parse = self._parse  # noqa: SLF001
        return parsed


def to_parser(parse: Parser[T]) -> Callable[[bytes], T]:
    """Return the function that makes a value of a payload.

    Args:
        parse: A callable, a type, or pydantic's TypeAdapter: see `Client.stream`.

    Raises:
        TypeError: It is none of these.
        ValueError: It needs a package that is not installed.
    """
    # What it is shows at run time.
    given: Any = parse
    if given is str:
        given = bytes.decode
    is_misleading = any(given is kind for kind in _MISLEADING)
    if is_misleading or hasattr(given, "__origin__"):
        name = given.__name__ if is_misleading else given
        msg = (
            f"parse={name} can't make a value of a payload: pass json.loads, or"
            f" pydantic.TypeAdapter({name}), or msgspec.json.Decoder({name}).decode"
        )
        raise TypeError(msg)
    if hasattr(given, "validate_json"):
        given = given.validate_json
    elif isinstance(given, type):
        given = _to_constructor(given)
    if not callable(given) or inspect.iscoroutinefunction(given):
        msg = (
            "parse must be a function that takes a payload (not a coroutine function),"
            f" a type or a TypeAdapter, not {parse!r}"
        )
        raise TypeError(msg)
    function: Callable[[bytes], T] = given
    return function


def _to_constructor(kind: Any) -> Any:
    """Return the function that makes an object of a class from a payload."""
    if hasattr(kind, "model_validate_json"):
        return kind.model_validate_json
    is_dataclass = hasattr(kind, "__dataclass_fields__")
    if not is_dataclass and not hasattr(kind, "__struct_fields__"):
        return kind
    is_pydantic = hasattr(kind, "__pydantic_validator__")
    if not is_pydantic and find_spec("msgspec"):
        from msgspec.json import Decoder

        return Decoder(kind).decode
    if find_spec("pydantic"):
        from pydantic import TypeAdapter

        return TypeAdapter(kind).validate_json
    msg = (
        f"parse={kind.__name__}, a dataclass, needs a package that checks the types of"
        " its fields: install msgspec or pydantic"
    )
    raise ValueError(msg)
