"""The properties with which a broker explains a problem.

They come with its CONNACK (MQTT 5.0 §3.2.2.3), DISCONNECT (§3.14.2.2), or
acknowledgement.
"""

from aiomqtt.escaping import escape
from aiomqtt.exceptions import MqttCodeError, MqttError
from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.standard.tables import Role

from .codec.codes import codes_of
from .packets import Signal


def describe_problem(reason_code: ReasonCode, properties: Properties | None) -> str:
    """Return the name of a reason code and the broker's explanation, escaped."""
    text = str(reason_code)
    if properties is not None:
        if properties.reason_string:
            text += f": {escape(properties.reason_string)}"
        if properties.server_reference:
            text += f" (server reference: {escape(properties.server_reference)})"
    return text


def add_properties(error: MqttError, properties: Properties | None) -> None:
    """Add the properties of the packet that caused an error to it, if there are any."""
    if properties is not None and properties.present:
        error.properties = properties
        error.reason_string = properties.reason_string


def disconnected_error(packet: Signal, version: int) -> MqttCodeError:
    """Return the error of a broker's DISCONNECT."""
    listed = codes_of(packet.kind, version, Role.SERVER)
    code = listed.get(packet.reason_code, ReasonCode(packet.reason_code))
    told = describe_problem(code, packet.properties)
    error = MqttCodeError(code, f"Disconnected by the broker: {told}")
    add_properties(error, packet.properties)
    return error
