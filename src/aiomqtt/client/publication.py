"""The arguments of a message to publish, checked and converted in one place."""

from typing import Any

from aiomqtt.paho import to_properties
from aiomqtt.payload import encode_payload
from aiomqtt.properties import Properties
from aiomqtt.protocol.codec.encode import check_qos
from aiomqtt.topic import to_text


def to_publication(
    topic: Any, payload: Any, qos: Any, properties: Any
) -> tuple[str, bytes, int, Properties | None]:
    """Return the topic, the payload as bytes, the QoS and our own properties.

    What is in these forms already is passed on as it is, since that is the fast path.

    Raises:
        ValueError: The QoS is not 0, 1 or 2.
        TypeError: An argument has a wrong type.
    """
    if type(payload) is not bytes:
        payload = encode_payload(payload)
    if type(topic) is not str:
        topic = to_text("topic", topic)
    if type(qos) is not int or not 0 <= qos <= 2:
        check_qos(qos)
    if properties is not None:
        properties = to_properties("properties", properties)
    return topic, payload, qos, properties
