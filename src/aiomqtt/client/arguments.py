"""Checking of the arguments of the client's calls, and conversion for the engine.

ValueError and TypeError name the argument and the rule; nothing has changed by then.
"""

import inspect
from copy import copy
from typing import Final

from aiomqtt.argument_checks import check_number, check_type
from aiomqtt.paho import is_subscribe_options, to_properties, to_subscribe_options
from aiomqtt.payload import encode_payload, encode_text
from aiomqtt.properties import Properties, SubscribeOptions
from aiomqtt.protocol.codec.encode import check_qos
from aiomqtt.protocol.packets import WillMessage
from aiomqtt.standard.names import DEFAULT_RECEIVE_MAXIMUM, V5
from aiomqtt.standard.tables import ProtocolVersion
from aiomqtt.topic import to_text
from aiomqtt.types import Will

# paho-mqtt's constant for "only until a connection was accepted".
CLEAN_START_FIRST_ONLY: Final = 3


def to_version(protocol: int | None) -> ProtocolVersion:
    if protocol is None:
        return ProtocolVersion.V311
    try:
        return ProtocolVersion(protocol)
    except ValueError:
        msg = f"protocol must be 3 (3.1), 4 (3.1.1) or 5 (5.0), not {protocol!r}"
        raise ValueError(msg) from None


def to_bound(name: str, value: int | None) -> int | None:
    """Return a bound; None, 0 and less mean that there is none."""
    check_type(name, value, int, type(None))
    return value if value is not None and value > 0 else None


def check_timeout(timeout: float) -> float:
    """Return a number of seconds; raise an error for anything else."""
    return check_number("timeout", timeout)


def to_clean_start(
    version: ProtocolVersion,
    identifier: str,
    clean_session: bool | None,
    clean_start: bool | int,
) -> bool | None:
    """Return the flag for every CONNECT; None: set it until one is accepted."""
    if version < V5:
        if clean_session is False and not identifier:
            msg = "clean_session=False needs an identifier ([MQTT-3.1.3-7])"
            raise ValueError(msg)
        if clean_start != CLEAN_START_FIRST_ONLY:
            msg = "clean_start is for MQTT 5.0: 3.1 and 3.1.1 have clean_session"
            raise ValueError(msg)
        return True if clean_session is None else bool(clean_session)
    if clean_session is not None:
        msg = "clean_session is for MQTT 3.1 and 3.1.1: 5.0 has clean_start"
        raise ValueError(msg)
    if clean_start not in (True, False, CLEAN_START_FIRST_ONLY):
        msg = f"clean_start must be True, False or 3, not {clean_start!r}"
        raise ValueError(msg)
    return None if clean_start == CLEAN_START_FIRST_ONLY else bool(clean_start)


def to_identifier(identifier: str | bytes | None) -> str:
    """Return a client identifier; "" if there is none."""
    check_type("identifier", identifier, str, bytes, type(None))
    if isinstance(identifier, bytes):
        try:
            return identifier.decode()
        except UnicodeDecodeError:
            msg = "identifier must be well-formed UTF-8 ([MQTT-3.1.3-4])"
            raise ValueError(msg) from None
    return identifier or ""


def to_credentials(
    version: ProtocolVersion, username: str | None, password: str | bytes | None
) -> tuple[str | None, bytes | None]:
    check_type("username", username, str, type(None))
    check_type("password", password, str, bytes, type(None))
    if username is None and version < V5:
        if password:
            msg = "password needs a username below MQTT 5.0 ([MQTT-3.1.2-22])"
            raise ValueError(msg)
        return None, None
    if isinstance(password, str):
        password = encode_text("password", password)
    return username, password


def with_method(
    version: ProtocolVersion, properties: Properties | None, authenticator: object
) -> Properties | None:
    """Return the properties of the CONNECT with the method of the authenticator."""
    if authenticator is None:
        return properties
    if version < V5:
        msg = "authenticator is for MQTT 5.0: pass protocol=ProtocolVersion.V5"
        raise ValueError(msg)
    method = getattr(authenticator, "method", None)
    function = getattr(authenticator, "authenticate", None)
    is_wrong = not callable(function) or inspect.iscoroutinefunction(function)
    if is_wrong or not isinstance(method, str):
        msg = (
            "authenticator must have a method of type str and an asynchronous generator"
            f" (with yield) named authenticate, which {type(authenticator).__name__}"
            " has not"
        )
        raise TypeError(msg)
    properties = Properties() if properties is None else copy(properties)
    if properties.authentication_method is not None:
        msg = "properties must not have authentication_method: authenticator has it"
        raise ValueError(msg)
    properties.authentication_method = method
    return properties


def with_receive_maximum(
    properties: Properties | None, maximum: int
) -> Properties | None:
    """Return the properties of the CONNECT with a Receive Maximum (§3.1.2.11.3).

    The program's own takes precedence, and 65,535 goes without saying.
    """
    if maximum >= DEFAULT_RECEIVE_MAXIMUM:
        return properties
    properties = Properties() if properties is None else copy(properties)
    if properties.receive_maximum is None:
        properties.receive_maximum = maximum
    return properties


def to_will(will: Will | None, name: str = "will") -> WillMessage | None:
    """Return the message of a will, or of the argument of that name."""
    if will is None:
        return None
    check_type(name, will, Will)
    return WillMessage(
        to_text(f"the {name}'s topic", will.topic),
        encode_payload(will.payload),
        will.qos,
        bool(will.retain),
        to_properties(f"the {name}'s properties", will.properties),
    )


def to_subscriptions(
    topic: object, qos: int, options: object
) -> list[tuple[str, SubscribeOptions]]:
    """Convert each form of the argument of `subscribe` to filters with options."""
    if isinstance(qos, str):
        msg = (
            "qos must be an int, not str: several filters are a list,"
            ' subscribe(["a", "b"])'
        )
        raise TypeError(msg)
    check_qos(qos)
    if options is None:
        options = SubscribeOptions(qos)
    elif not is_subscribe_options(options):
        msg = f"options must be SubscribeOptions, not {type(options).__name__}"
        raise TypeError(msg)
    elif qos:
        msg = "qos and options can't be combined: the options have their own qos"
        raise ValueError(msg)
    options = to_subscribe_options(options)
    items = topic if isinstance(topic, list) else [topic]
    return [_subscription(item, options) for item in items]


def _subscription(
    item: object, default: SubscribeOptions
) -> tuple[str, SubscribeOptions]:
    if not isinstance(item, tuple):
        return to_text("topic", item), default
    if len(item) != 2:
        msg = f"topic must be a filter and its options or QoS, not {item!r}"
        raise ValueError(msg)
    topic, options = item
    if is_subscribe_options(options):
        return to_text("topic", topic), to_subscribe_options(options)
    check_qos(options)
    return to_text("topic", topic), SubscribeOptions(options)
