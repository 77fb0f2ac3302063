"""Objects of the real paho-mqtt are accepted by their shape."""

import pytest
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.reasoncodes import ReasonCode as PahoReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions as PahoSubscribeOptions

from aiomqtt import Properties, ReasonCode, SubscribeOptions
from aiomqtt.paho import (
    is_subscribe_options,
    to_properties,
    to_reason_code,
    to_subscribe_options,
)
from aiomqtt.standard.tables import PROPERTIES, DataType, PacketType

VALUES = {
    DataType.BYTE: 1,
    DataType.TWO_BYTE_INTEGER: 1000,
    DataType.FOUR_BYTE_INTEGER: 100_000,
    DataType.VARIABLE_BYTE_INTEGER: 200,
    DataType.BINARY_DATA: b"\xff",
    DataType.UTF8_STRING: "text",
    DataType.UTF8_STRING_PAIR: ("key", "value"),
}


def theirs(packet=PacketTypes.PUBLISH, **values):
    properties = PahoProperties(packet)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


# --- properties ----------------------------------------------------------------


@pytest.mark.parametrize("row", PROPERTIES, ids=lambda row: row.name)
def test_every_property_is_taken_over(row):
    packet = min(row.packets)
    paho_packet = 99 if packet is PacketType.WILL else int(packet)
    value = VALUES[row.type]
    ours = to_properties("properties", theirs(paho_packet, **{row.camel_name: value}))
    assert ours == Properties(**{row.name: [value] if row.repeats else value})


def test_several_properties_are_taken_over():
    paho = theirs(ContentType="text/plain", TopicAlias=3, ResponseTopic="a/b")
    # In paho-mqtt an assignment adds one.
    paho.UserProperty = ("a", "1")
    paho.UserProperty = ("a", "2")
    paho.UserProperty = [("b", "3")]
    assert to_properties("properties", paho) == Properties(
        content_type="text/plain",
        topic_alias=3,
        response_topic="a/b",
        user_property=[("a", "1"), ("a", "2"), ("b", "3")],
    )


def test_no_properties():
    assert to_properties("properties", theirs()) == Properties()
    assert to_properties("properties", None) is None


def test_our_own_pass_unchanged():
    ours = Properties(topic_alias=1)
    assert to_properties("properties", ours) is ours


@pytest.mark.parametrize("value", ["x", {}, 5, object(), SubscribeOptions()])
def test_what_is_neither_is_refused_by_name(value):
    rule = f"^the argument must be Properties or None, not {type(value).__name__}$"
    with pytest.raises(TypeError, match=rule):
        to_properties("the argument", value)


@pytest.mark.parametrize(
    ("name", "value", "error", "rule"),
    [
        ("ResponseTopic", "a/#", ValueError, "response_topic must not contain"),
        ("ContentType", "\0", ValueError, "content_type must not contain"),
        ("MessageExpiryInterval", -1, ValueError, "message_expiry_interval must be"),
        ("MessageExpiryInterval", "1", TypeError, "message_expiry_interval must be"),
        ("CorrelationData", "text", TypeError, "correlation_data must be bytes"),
        ("UserProperty", ("a", 1), TypeError, "user_property must"),
    ],
)
def test_values_that_paho_does_not_check_are_checked(name, value, error, rule):
    with pytest.raises(error, match=f"^{rule}"):
        to_properties("properties", theirs(**{name: value}))


# --- options -------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [(), (1,), (2, True), (0, False, True), (1, True, True, 2), (0, False, False, 1)],
)
def test_subscribe_options_are_taken_over(arguments):
    paho = PahoSubscribeOptions(*arguments)
    assert is_subscribe_options(paho)
    assert to_subscribe_options(paho) == SubscribeOptions(*arguments)


def test_options_that_were_changed_wrongly_are_refused():
    paho = PahoSubscribeOptions()
    paho.retainHandling = 3
    with pytest.raises(ValueError, match="^retain_handling must be 0, 1 or 2"):
        to_subscribe_options(paho)


def test_our_own_options_pass_unchanged():
    ours = SubscribeOptions(1)
    assert is_subscribe_options(ours)
    assert to_subscribe_options(ours) is ours


@pytest.mark.parametrize("value", [None, 1, "a", Properties()])
def test_other_values_are_no_options(value):
    assert not is_subscribe_options(value)


# --- reason codes --------------------------------------------------------------


def test_a_reason_code_is_taken_over_with_its_name():
    code = to_reason_code(PahoReasonCode(PacketTypes.PUBACK, identifier=0x10))
    assert type(code) is ReasonCode
    assert (code, str(code)) == (0x10, "No matching subscribers")


def test_every_reason_code_of_paho_is_taken_over():
    for number, names in PahoReasonCode.names.items():
        for name, packets in names.items():
            for packet in packets:
                paho = PahoReasonCode(packet, identifier=number)
                ours = to_reason_code(paho)
                assert ours is not None
                assert (ours.value, str(ours)) == (number, name)
                assert ours.is_failure == paho.is_failure


def test_numbers_are_reason_codes():
    assert to_reason_code(135) == ReasonCode(135)
    # A number stays one where it is printed.
    assert str(to_reason_code(135)) == "135"
    assert isinstance(to_reason_code(135), ReasonCode)
    assert to_reason_code(MQTTErrorCode.MQTT_ERR_NO_CONN) == 4
    ours = ReasonCode(1, "mine")
    assert to_reason_code(ours) is ours
    assert to_reason_code(None) is None
