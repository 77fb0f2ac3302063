"""Refusals by the broker: the error of a connection, and lines for the log."""

from logging import WARNING
from typing import Final

from aiomqtt.escaping import escape, quote
from aiomqtt.exceptions import MqttConnectError
from aiomqtt.log import SafeLogger
from aiomqtt.properties import ReasonCode
from aiomqtt.protocol.delivery import DONE, Delivery
from aiomqtt.protocol.packets import Connack
from aiomqtt.protocol.problem import add_properties, describe_problem
from aiomqtt.protocol.requests import Request
from aiomqtt.standard.names import FIRST_FAILURE, UNSUPPORTED_PROTOCOL_VERSION, V5
from aiomqtt.standard.tables import PacketType, ProtocolVersion

# The number of topic filters of one packet that are logged.
MAXIMUM_LINES: Final = 10


def refused_connection(
    connack: Connack, version: ProtocolVersion, target: str
) -> MqttConnectError:
    """Return the error of a connection that the broker refused.

    Args:
        connack: The CONNACK that refused it.
        version: The version that the CONNECT asked for.
        target: The broker's host and port.
    """
    code, properties = connack.reason_code, connack.properties
    text = describe_problem(code, properties)
    is_silent = properties is None or not properties.reason_string
    is_too_new = code == UNSUPPORTED_PROTOCOL_VERSION and version >= V5
    if is_silent and is_too_new:
        text += (
            " (the broker does not speak MQTT 5.0: try protocol=ProtocolVersion.V311)"
        )
    error = MqttConnectError(code, text)
    add_properties(error, properties)
    error.add_note(f"The broker at {target} refused the connection.")
    return error


def refused_filters(request: Request) -> list[tuple[str, ReasonCode]]:
    """Return the topic filters of a request that the broker refused, with the codes."""
    return [
        (topic_filter, code)
        # An UNSUBACK below 5.0 has no codes.
        for topic_filter, code in zip(
            request.filters, request.reason_codes, strict=False
        )
        if code >= FIRST_FAILURE
    ]


def log_refused_filters(logger: SafeLogger, request: Request) -> None:
    """Log each topic filter of a request that the broker refused, with the reason.

    The reason string of the SUBACK or UNSUBACK is about all of its codes (MQTT 5.0
    §3.9.2.1.2), so each line has it.
    """
    refused = refused_filters(request)
    event, does = "subscription_refused", "subscribe to"
    if request.answer is not PacketType.SUBACK:
        event, does = "unsubscription_refused", "unsubscribe from"
    for topic_filter, code in refused[:MAXIMUM_LINES]:
        fields = {"topic_filter": escape(topic_filter), "reason_code": int(code)}
        told = describe_problem(code, request.properties)
        form = "The broker refused to %s %s: %s"
        logger.event(WARNING, event, fields, form, does, quote(topic_filter), told)
    further = len(refused) - MAXIMUM_LINES
    if further > 0:
        form = "The broker refused to %s %d more"
        logger.event(WARNING, event, {"count": further}, form, does, further)


def log_refused_message(logger: SafeLogger, delivery: Delivery) -> None:
    """Log that the broker refused a message that no caller waits for."""
    # Of any other end, the program or its queue was the cause.
    if delivery.state == DONE:
        logger.event(
            WARNING,
            "message_refused",
            {"reason_code": int(delivery.reason_code)},
            "The broker refused a message that nobody waits for any more: %s",
            describe_problem(delivery.reason_code, delivery.answer),
        )
