"""What the broker tells of a problem besides its reason code: the properties of its
CONNACK (MQTT 5.0 §3.2.2.3), DISCONNECT (§3.14.2.2), or acknowledgement.
"""

from aiomqtt.escaping import escape
from aiomqtt.exceptions import MqttError
from aiomqtt.properties import Properties, ReasonCode


def describe_problem(reason_code: ReasonCode, properties: Properties | None) -> str:
    """Return the name of a reason code with the broker's words, fit to be shown."""
    text = str(reason_code)
    if properties is not None:
        if properties.reason_string:
            text += f": {escape(properties.reason_string)}"
        if properties.server_reference:
            text += f" (server reference: {escape(properties.server_reference)})"
    return text


def add_properties(error: MqttError, properties: Properties | None) -> None:
    """Give an error the properties of the packet that it comes from, if it has any."""
    if properties is not None and properties.present:
        error.properties = properties
        error.reason_string = properties.reason_string
