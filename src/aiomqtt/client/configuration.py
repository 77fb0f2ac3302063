"""Creation of the parts of a client from the arguments of the program.

The arguments of `Client` are passed by name; ValueError and TypeError name the wrong
one.
"""

import os
from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, Final

from aiomqtt.argument_checks import check_range, check_type
from aiomqtt.paho import to_properties
from aiomqtt.properties import Properties
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.session import Session
from aiomqtt.protocol.settings import Settings
from aiomqtt.standard.names import V5
from aiomqtt.standard.tables import ProtocolVersion
from aiomqtt.types import WillSource

from .arguments import (
    to_bound,
    to_clean_start,
    to_credentials,
    to_identifier,
    to_version,
    to_will,
    with_method,
    with_receive_maximum,
)
from .incoming_arguments import RECEIVE, check_ack

if TYPE_CHECKING:
    from .birth_async import Birth
    from .durable_async import SessionKeeper
    from .offline import OfflineMode
    from .queued_messages import QueuedMessages
    from .reconnect import Reconnect
    from .renewal import Renewal
    from .states import StateJournal

# The random bytes of a generated client identifier. Each becomes two characters, and
# 3.1 allows 23 (3.1 §3.1).
_ID_BYTES: Final = 11
# The Session Expiry Interval of a session that does not expire (MQTT 5.0 §3.1.2.11.2).
NEVER_EXPIRES: Final = 0xFFFFFFFF


def to_settings(given: Mapping[str, Any]) -> Settings:
    """Return the contents of every CONNECT, and the bounds of publishing."""
    identifier = to_identifier(given["identifier"])
    version = to_version(given["protocol"])
    if not identifier and version is ProtocolVersion.V31:
        identifier = os.urandom(_ID_BYTES).hex()
    authenticator = given["authenticator"]
    properties = with_method(
        version, to_properties("properties", given["properties"]), authenticator
    )
    bound = to_bound(
        "max_queued_incoming_messages", given["max_queued_incoming_messages"]
    )
    if check_ack(given["ack"]) != RECEIVE and bound is not None and version >= V5:
        properties = with_receive_maximum(properties, bound)
    clean_start = to_clean_start(
        version, identifier, given["clean_session"], given["clean_start"]
    )
    if given["session"] is not None:
        clean_start, properties = with_durable_session(
            version, identifier, clean_start, properties, given["clean_session"]
        )
    username, password = to_credentials(version, given["username"], given["password"])
    return Settings(
        version,
        identifier,
        clean_start,
        check_range("keepalive", given["keepalive"], 0),
        username,
        password,
        None if callable(given["will"]) else to_will(given["will"]),
        properties,
        to_bound("max_inflight_messages", given["max_inflight_messages"]),
        to_bound("max_queued_outgoing_messages", given["max_queued_outgoing_messages"]),
        authenticator is not None,
    )


def with_durable_session(
    version: ProtocolVersion,
    identifier: str,
    clean_start: bool | None,
    properties: Properties | None,
    clean_session: bool | None,
) -> tuple[bool | None, Properties | None]:
    """Return clean start and properties for a session that is stored.

    Raises:
        ValueError: Such a session would not last at the broker.
    """
    if not identifier:
        msg = "session needs an identifier, by which the broker finds its part again"
        raise ValueError(msg)
    if version < V5:
        if clean_session:
            msg = (
                "session and clean_session=True can't be combined: the broker would"
                " forget its part when the connection ends"
            )
            raise ValueError(msg)
        return False, properties
    if clean_start:
        msg = (
            "session and clean_start=True can't be combined: the broker would forget"
            " its part with each connection"
        )
        raise ValueError(msg)
    if properties is None or properties.session_expiry_interval is None:
        properties = Properties() if properties is None else copy(properties)
        properties.session_expiry_interval = NEVER_EXPIRES
    elif not properties.session_expiry_interval:
        msg = (
            "session needs a session_expiry_interval above 0 in properties, or none for"
            " a session that never expires: the broker would forget its part when the"
            " connection ends"
        )
        raise ValueError(msg)
    return clean_start, properties


def to_engine(given: Mapping[str, Any]) -> "tuple[Engine, SessionKeeper | None]":
    """Return the engine, and what keeps its session in a store; None: nothing does."""
    settings = to_settings(given)
    session = given["session"]
    if session is None:
        return Engine(settings), None
    from .durable_async import DurableSession, SessionKeeper

    check_type("session", session, DurableSession, type(None))
    engine = Engine(settings, Session(settings.client_id, is_durable=True))
    engine.keeps_messages = True
    return engine, SessionKeeper(session, engine)


def to_renewal(given: Mapping[str, Any]) -> "Renewal | None":
    """Return what to call before each CONNECT; None: there are no callables."""
    credentials, will = given["credentials"], given["will"]
    if credentials is not None:
        if not callable(credentials):
            msg = f"credentials must be a callable, not {type(credentials).__name__}"
            raise TypeError(msg)
        for name in ("username", "password"):
            if given[name] is not None:
                msg = f"credentials and {name} can't be combined: pass one of them"
                raise ValueError(msg)
    elif not callable(will):
        return None
    from .renewal import Renewal

    return Renewal(credentials, will if callable(will) else None)


def to_reconnection(
    given: Mapping[str, Any],
) -> "tuple[Reconnect, StateJournal] | tuple[None, None]":
    """Return how the client reconnects, and what keeps its state; None: it does not."""
    if given["reconnect"] is False:
        return None, None
    from .reconnect import to_reconnect
    from .states import StateJournal

    reconnect = to_reconnect(given["reconnect"])
    if reconnect is None:
        return None, None
    hostname, order = given["hostname"], given["address_order"]
    if reconnect.return_to_first is not None and (
        isinstance(hostname, str) or len(hostname) < 2 or order != "listed"
    ):
        msg = (
            "return_to_first needs a list of at least two brokers as hostname, and"
            ' address_order="listed": otherwise there is no first one'
        )
        raise ValueError(msg)
    return reconnect, StateJournal()


def to_birth(
    birth: WillSource | None, reconnect: "Reconnect | None", engine: Engine
) -> "Birth | None":
    """Return what makes the birth message of each connection; None: there is none."""
    if birth is None:
        return None
    if reconnect is None:
        msg = (
            "birth is for clients that reconnect: pass reconnect=True, or publish the"
            " message within `async with client:`"
        )
        raise ValueError(msg)
    from .birth_async import Birth

    return Birth(birth, engine)


def to_offline_rules(
    offline: object, reconnect: "Reconnect | None", engine: Engine
) -> "tuple[OfflineMode, QueuedMessages | None]":
    """Return what a client does without a connection; None: it does not reconnect."""
    if offline is None and reconnect is None:
        return "wait", None
    from .offline import to_offline
    from .queued_messages import QueuedMessages

    mode, limits = to_offline(offline, reconnect is not None)
    engine.session.outbound.drops_expired = True
    return mode, QueuedMessages(engine, limits)
