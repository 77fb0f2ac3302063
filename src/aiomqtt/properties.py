"""The values of MQTT 5.0 that programs pass and read.

`Properties`, `ReasonCode` and `SubscribeOptions` have the standard's names in
snake_case. The CamelCase names of paho-mqtt, which programs written for aiomqtt 2
use, resolve to the same values.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Self, cast

from .standard.names import FIRST_FAILURE, MAXIMUM_STRING_LENGTH
from .standard.tables import (
    CAMEL_NAMES,
    CONNECT_REASON_CODES,
    CONNECT_RETURN_CODES,
    NAMES_IN_PAHO,
    PROPERTY_NAMES,
    REASON_NAMES,
    DataType,
    PacketType,
    PropertyRow,
)
from .topic import Topic, TopicLike


class ReasonCode(int):
    """A reason code (MQTT 5.0 §2.4): a number with a name.

    It equals the plain number. ``str()`` returns its name in paho-mqtt's spelling, as
    aiomqtt 2 printed it.

    As in aiomqtt 2, the return code of a CONNACK of 3.1 or 3.1.1 is translated to the
    reason code of 5.0. It also equals its original number: "bad user name or password"
    is 0x86, and equals 4.

    Args:
        value: The number, 0 to 255.
        name: The name; ``None``: the name in MQTT 5.0.

    Attributes:
        name: The standard's name.
        equivalent: Another number that it equals: for a code from a CONNACK of 3.1 or
            3.1.1, the return code there; ``None``: there is none.
    """

    name: str
    equivalent: int | None

    def __new__(
        cls, value: int, name: str | None = None, equivalent: int | None = None
    ) -> Self:
        """Create a reason code from a number."""
        code = super().__new__(cls, value)
        code.name = REASON_NAMES.get(value, "Unknown") if name is None else name
        code.equivalent = equivalent
        return code

    @classmethod
    def of_connack(cls, return_code: int) -> Self:
        """Create the reason code for a return code of a CONNACK of 3.1 or 3.1.1."""
        value = CONNECT_REASON_CODES.get(return_code)
        if value is None:
            return cls(return_code, CONNECT_RETURN_CODES.get(return_code))
        return cls(value, None, return_code)

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle with the name."""
        return type(self), (int(self), self.name, self.equivalent)

    @property
    def value(self) -> int:
        """The plain number."""
        return int(self)

    @property
    def is_failure(self) -> bool:
        """Whether the code reports a failure: 0x80 and above."""
        return max(self, self.equivalent or 0) >= FIRST_FAILURE

    def getName(self) -> str:  # noqa: N802
        """Return the name; a method of paho-mqtt's class."""
        return NAMES_IN_PAHO.get(self.name, self.name)

    def __str__(self) -> str:
        """Return the name."""
        return self.getName()

    def __repr__(self) -> str:
        """Return the number and the name."""
        return f"ReasonCode({int(self)}, {self.name!r})"

    def __eq__(self, other: object) -> bool:
        """Compare with a number or, as paho-mqtt's class does, with a name."""
        if isinstance(other, str):
            spelling = other.casefold()
            return spelling in (self.name.casefold(), self.getName().casefold())
        if isinstance(other, int):
            return int.__eq__(self, other) or (
                self.equivalent is not None and int.__eq__(self.equivalent, other)
            )
        return NotImplemented

    def __ne__(self, other: object) -> bool:
        """Compare with a number or a name."""
        return not self == other

    def __hash__(self) -> int:
        """Return the hash of the number."""
        return int.__hash__(self)


class PlainCode(ReasonCode):
    """A code that prints as its number.

    A program passed it as an int, as the `rc` of an error, or it is one of aiomqtt's
    own codes, which no broker sends.
    """

    def __str__(self) -> str:
        """Return the number."""
        return int.__repr__(self)

    __repr__ = __str__


SUCCESS: Final = ReasonCode(0)


def _utf8(row: PropertyRow, value: object) -> str:
    if not isinstance(value, str):
        if row.is_topic and isinstance(value, Topic):
            return value.value
        msg = f"{row.name} must be a str, not {type(value).__name__}"
        raise TypeError(msg)
    try:
        length = len(value.encode())
    except UnicodeEncodeError:
        msg = f"{row.name} must be well-formed UTF-8 (MQTT 5.0 §1.5.4)"
        raise ValueError(msg) from None
    if length > MAXIMUM_STRING_LENGTH:
        msg = f"{row.name} must be at most 65535 bytes of UTF-8, not {length}"
        raise ValueError(msg)
    if "\x00" in value:
        msg = f"{row.name} must not contain U+0000 (MQTT 5.0 §1.5.4)"
        raise ValueError(msg)
    if row.is_topic and ("+" in value or "#" in value):
        msg = f"{row.name} must not contain wildcards (MQTT 5.0 §{row.section})"
        raise ValueError(msg)
    return value


def _number(row: PropertyRow, value: object) -> int:
    if not isinstance(value, int):
        msg = f"{row.name} must be an int, not {type(value).__name__}"
        raise TypeError(msg)
    if not row.minimum <= value <= row.largest:
        msg = (
            f"{row.name} must be {row.minimum} to {row.largest}, not {value}"
            f" (MQTT 5.0 §{row.section})"
        )
        raise ValueError(msg)
    return int(value)


def _binary(row: PropertyRow, value: object) -> bytes:
    if not isinstance(value, bytes | bytearray):
        msg = f"{row.name} must be bytes, not {type(value).__name__}"
        raise TypeError(msg)
    if len(value) > MAXIMUM_STRING_LENGTH:
        msg = f"{row.name} must be at most 65535 bytes, not {len(value)}"
        raise ValueError(msg)
    return bytes(value)


def _pair(row: PropertyRow, value: object) -> tuple[str, str]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        msg = f"{row.name} must hold pairs of str, not {value!r}"
        raise TypeError(msg)
    return _utf8(row, value[0]), _utf8(row, value[1])


def _single(row: PropertyRow, value: object) -> Any:
    if row.type is DataType.UTF8_STRING:
        return _utf8(row, value)
    if row.type is DataType.BINARY_DATA:
        return _binary(row, value)
    if row.type is DataType.UTF8_STRING_PAIR:
        return _pair(row, value)
    return _number(row, value)


def _several(row: PropertyRow, value: object) -> list[Any]:
    # A single value is accepted for a list of one: a number, or a pair of str.
    if isinstance(value, int) or (
        isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)
    ):
        value = [value]
    if not isinstance(value, Iterable) or isinstance(value, str | bytes):
        msg = f"{row.name} must be a list, not {type(value).__name__}"
        raise TypeError(msg)
    return [_single(row, item) for item in value]


class _WithDictionary:
    """Gives instances a dictionary, which `Properties` keeps under another name."""


class Properties(_WithDictionary):
    """The properties of an MQTT 5.0 packet (MQTT 5.0 §2.2.2).

    Each property is an attribute. ``None`` (for the two that repeat, an empty sequence)
    means that it is absent; assigning ``None`` removes it. Values are checked when they
    are assigned: the TypeError or ValueError names the property and the rule. Calls
    that send a packet check whether it may carry the properties.

    The CamelCase names of paho-mqtt access the same values. As in paho-mqtt, reading an
    absent one raises AttributeError, so ``hasattr`` shows whether it is present.

    Args:
        **values: Properties by name, ``Properties(content_type="text/plain")``.
    """

    payload_format_indicator: int | None = None
    message_expiry_interval: int | None = None  # seconds
    content_type: str | None = None
    correlation_data: bytes | None = None
    session_expiry_interval: int | None = None  # seconds
    assigned_client_identifier: str | None = None
    server_keep_alive: int | None = None  # seconds
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    request_problem_information: int | None = None
    will_delay_interval: int | None = None  # seconds
    request_response_information: int | None = None
    response_information: str | None = None
    server_reference: str | None = None
    reason_string: str | None = None
    receive_maximum: int | None = None
    topic_alias_maximum: int | None = None
    topic_alias: int | None = None
    maximum_qos: int | None = None
    retain_available: int | None = None
    maximum_packet_size: int | None = None  # bytes
    wildcard_subscription_available: int | None = None
    subscription_identifier_available: int | None = None
    shared_subscription_available: int | None = None

    # These accept more types than they return.
    if TYPE_CHECKING:

        @property
        def response_topic(self) -> str | None: ...
        @response_topic.setter
        def response_topic(self, value: TopicLike | None) -> None: ...
        @property
        def subscription_identifier(self) -> Sequence[int]: ...
        @subscription_identifier.setter
        def subscription_identifier(
            self, value: int | Iterable[int] | None
        ) -> None: ...
        @property
        def user_property(self) -> Sequence[tuple[str, str]]: ...
        @user_property.setter
        def user_property(
            self, value: tuple[str, str] | Iterable[tuple[str, str]] | None
        ) -> None: ...

    else:
        response_topic: str | None = None
        subscription_identifier: Sequence[int] = ()
        user_property: Sequence[tuple[str, str]] = ()

    if TYPE_CHECKING:
        # The names of paho-mqtt: reading an absent one raises AttributeError.
        PayloadFormatIndicator: int
        MessageExpiryInterval: int
        ContentType: str
        CorrelationData: bytes
        SessionExpiryInterval: int
        AssignedClientIdentifier: str
        ServerKeepAlive: int
        AuthenticationMethod: str
        AuthenticationData: bytes
        RequestProblemInformation: int
        WillDelayInterval: int
        RequestResponseInformation: int
        ResponseInformation: str
        ServerReference: str
        ReasonString: str
        ReceiveMaximum: int
        TopicAliasMaximum: int
        TopicAlias: int
        MaximumQoS: int
        RetainAvailable: int
        MaximumPacketSize: int
        WildcardSubscriptionAvailable: int
        SubscriptionIdentifierAvailable: int
        SharedSubscriptionAvailable: int

        @property
        def ResponseTopic(self) -> str: ...  # noqa: N802
        @ResponseTopic.setter
        def ResponseTopic(self, value: TopicLike) -> None: ...  # noqa: N802
        @property
        def SubscriptionIdentifier(self) -> list[int]: ...  # noqa: N802
        @SubscriptionIdentifier.setter
        def SubscriptionIdentifier(  # noqa: N802
            self, value: int | Iterable[int]
        ) -> None: ...
        @property
        def UserProperty(self) -> list[tuple[str, str]]: ...  # noqa: N802
        @UserProperty.setter
        def UserProperty(  # noqa: N802
            self, value: tuple[str, str] | Iterable[tuple[str, str]]
        ) -> None: ...

    def __init__(self, **values: object) -> None:
        for name, value in values.items():
            setattr(self, name, value)

    # An attribute of paho-mqtt's class. Programs mostly read a message's properties.
    packetType: int = int(PacketType.PUBLISH)  # noqa: N815

    if TYPE_CHECKING:

        @property
        def present(self) -> dict[str, object]:
            """The properties that are present, by name. Read-only."""

    else:
        # The instance's attributes; the usual name, `__dict__`, is what vars() reads.
        present = _WithDictionary.__dict__["__dict__"]

        @property
        def __dict__(self):
            """The properties that are present, by paho-mqtt's names, for ``vars()``."""
            return {
                PROPERTY_NAMES[name].camel_name: value
                for name, value in self.present.items()
            }

    @classmethod
    def _decoded(
        cls, values: Mapping[str, object], packet_type: int = PacketType.PUBLISH
    ) -> "Properties":
        """Create properties from values that have already been checked."""
        kind = Properties if packet_type == PacketType.PUBLISH else _kind(packet_type)
        properties = kind.__new__(kind)
        properties.present.update(values)
        return properties

    def without(self, *names: str) -> "Properties":
        """Return a copy without the properties of these names (in snake_case)."""
        values = {
            name: value for name, value in self.present.items() if name not in names
        }
        return self._decoded(values, self.packetType)

    def isEmpty(self) -> bool:  # noqa: N802
        """Return whether no property is present; a method of paho-mqtt's class."""
        return not self.present

    def json(self) -> dict[str, object]:
        """Return the properties that are present, by paho-mqtt's names.

        As in paho-mqtt's class, Correlation Data become hexadecimal digits.
        ``json.dumps`` accepts the result, unless there are other binary data
        (Authentication Data).
        """
        values = vars(self)
        if self.correlation_data is not None:
            values["CorrelationData"] = self.correlation_data.hex()
        return values

    def __setattr__(self, name: str, value: object) -> None:
        """Check a value and set the property; ``None`` or an empty list removes it."""
        row = PROPERTY_NAMES.get(name) or CAMEL_NAMES.get(name)
        if row is None:
            msg = f"MQTT 5.0 has no property named {name!r}"
            raise AttributeError(msg)
        values = self.present
        if value is not None:
            value = _several(row, value) if row.repeats else _single(row, value)
        if value is None or value == []:
            values.pop(row.name, None)
        elif row.repeats and name != row.name and row.name in values:
            # As in paho-mqtt, assigning to its name adds to the existing values.
            values[row.name] = [*cast("list[object]", values[row.name]), *value]
        else:
            values[row.name] = value

    def __delattr__(self, name: str) -> None:
        """Remove a property."""
        row = PROPERTY_NAMES.get(name) or CAMEL_NAMES.get(name)
        if row is None or self.present.pop(row.name, None) is None:
            msg = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(msg)

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle by the values that are present."""
        return Properties._decoded, (dict(self.present), self.packetType)

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            """Resolve a CamelCase name."""
            row = CAMEL_NAMES.get(name)
            if row is not None and row.name in self.present:
                return self.present[row.name]
            msg = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(msg)

    def __eq__(self, other: object) -> bool:
        """Compare the values that are present."""
        if not isinstance(other, Properties):
            return NotImplemented
        return self.present == other.present

    def __repr__(self) -> str:
        """Return the values that are present, without secrets."""
        values = ", ".join(
            f"{name}={'***' if name == 'authentication_data' else repr(value)}"
            for name, value in self.present.items()
        )
        return f"Properties({values})"


@cache
def _kind(packet_type: int) -> type[Properties]:
    """Return the class of the properties of a packet other than PUBLISH."""
    return type("Properties", (Properties,), {"packetType": packet_type})


class SubscribeOptions:
    """The options of a subscription (MQTT 5.0 §3.8.3.1). They are immutable.

    Args:
        qos: The maximum QoS at which the broker may send: 0, 1 or 2.
        no_local: Whether the broker leaves out messages that this client published.
        retain_as_published: Whether the RETAIN flag stays as the publisher set it.
        retain_handling: When the broker sends retained messages. 0: at every subscribe;
            1: only if the subscription is new; 2: never.
    """

    # Not a dataclass: creating one takes 5 % of the time to import the package.
    __slots__ = ("_values",)
    __match_args__ = ("qos", "no_local", "retain_as_published", "retain_handling")

    def __init__(
        self,
        qos: int = 0,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
    ) -> None:
        for name, value in (("qos", qos), ("retain_handling", retain_handling)):
            if not isinstance(value, int):
                msg = f"{name} must be an int, not {type(value).__name__}"
                raise TypeError(msg)
            if value not in (0, 1, 2):
                msg = f"{name} must be 0, 1 or 2, not {value!r}"
                raise ValueError(msg)
        self._values = (qos, no_local, retain_as_published, retain_handling)

    @property
    def qos(self) -> int:
        """The maximum QoS at which the broker may send."""
        return self._values[0]

    @property
    def no_local(self) -> bool:
        """Whether the broker leaves out messages that this client published."""
        return self._values[1]

    @property
    def retain_as_published(self) -> bool:
        """Whether the RETAIN flag stays as the publisher set it."""
        return self._values[2]

    @property
    def retain_handling(self) -> int:
        """The rule for sending retained messages: 0, 1 or 2."""
        return self._values[3]

    def __eq__(self, other: object) -> bool:
        """Compare the values."""
        if not isinstance(other, SubscribeOptions):
            return NotImplemented
        return self._values == other._values

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle by the values."""
        return type(self), self._values

    def __hash__(self) -> int:
        """Return the hash of the values."""
        return hash(self._values)

    def __repr__(self) -> str:
        """Return the values with their names."""
        values = zip(self.__match_args__, self._values, strict=True)
        shown = ", ".join(f"{name}={value!r}" for name, value in values)
        return f"SubscribeOptions({shown})"

    @property
    def QoS(self) -> int:  # noqa: N802
        """The name of `qos` in paho-mqtt."""
        return self.qos

    @property
    def noLocal(self) -> bool:  # noqa: N802
        """The name of `no_local` in paho-mqtt."""
        return self.no_local

    @property
    def retainAsPublished(self) -> bool:  # noqa: N802
        """The name of `retain_as_published` in paho-mqtt."""
        return self.retain_as_published

    @property
    def retainHandling(self) -> int:  # noqa: N802
        """The name of `retain_handling` in paho-mqtt."""
        return self.retain_handling
