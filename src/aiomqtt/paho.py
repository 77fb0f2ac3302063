"""Conversion of paho-mqtt's objects, which programs written for aiomqtt 2 pass.

paho-mqtt is not imported: its objects are recognized by their attributes.
"""

from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeGuard

from .properties import PlainCode, Properties, ReasonCode, SubscribeOptions
from .standard.tables import CAMEL_NAMES

if TYPE_CHECKING:

    class PahoProperties(Protocol):
        """The shape of paho-mqtt's Properties."""

        packetType: int  # noqa: N815

    class PahoSubscribeOptions(Protocol):
        """The shape of paho-mqtt's SubscribeOptions."""

        QoS: int
        noLocal: bool  # noqa: N815
        retainAsPublished: bool  # noqa: N815
        retainHandling: int  # noqa: N815

    class PahoReasonCode(Protocol):
        """The shape of paho-mqtt's ReasonCode."""

        packetType: int  # noqa: N815
        value: int

else:
    # Protocols are slow to create, and only type checkers need these.
    PahoProperties = PahoSubscribeOptions = PahoReasonCode = object

PropertiesLike: TypeAlias = Properties | PahoProperties
SubscribeOptionsLike: TypeAlias = SubscribeOptions | PahoSubscribeOptions
ReasonCodeLike: TypeAlias = int | PahoReasonCode


def to_properties(argument: str, value: object) -> Properties | None:
    """Return our Properties for ours, paho-mqtt's or None.

    Raises:
        TypeError: The value is none of these; the message names the argument.
        ValueError: A value of paho-mqtt's object is invalid.
    """
    if value is None or isinstance(value, Properties):
        return value
    if not hasattr(value, "packetType"):
        msg = f"{argument} must be Properties or None, not {type(value).__name__}"
        raise TypeError(msg)
    return Properties(
        **{
            row.name: getattr(value, camel_name)
            for camel_name, row in CAMEL_NAMES.items()
            if hasattr(value, camel_name)
        }
    )


def is_subscribe_options(value: object) -> TypeGuard[SubscribeOptionsLike]:
    """Return whether a value is our SubscribeOptions or looks like paho-mqtt's."""
    return isinstance(value, SubscribeOptions) or hasattr(value, "retainAsPublished")


def to_subscribe_options(value: SubscribeOptionsLike) -> SubscribeOptions:
    """Return our SubscribeOptions for ours or for paho-mqtt's."""
    if isinstance(value, SubscribeOptions):
        return value
    return SubscribeOptions(
        qos=value.QoS,
        no_local=bool(value.noLocal),
        retain_as_published=bool(value.retainAsPublished),
        retain_handling=value.retainHandling,
    )


def to_reason_code(value: object) -> ReasonCode | None:
    """Return our ReasonCode for a number, for paho-mqtt's ReasonCode, or None."""
    if value is None or isinstance(value, ReasonCode):
        return value
    if isinstance(value, int):
        return PlainCode(value)
    if hasattr(value, "packetType") and hasattr(value, "value"):
        return ReasonCode(value.value, str(value))
    msg = f"rc must be an int, a ReasonCode or None, not {type(value).__name__}"
    raise TypeError(msg)
