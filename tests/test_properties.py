"""Properties, ReasonCode and SubscribeOptions: names, checks, what programs do."""

import copy
import json
import pickle

import paho.mqtt.properties as paho
import pytest
from paho.mqtt.packettypes import PacketTypes

from aiomqtt import Properties, ReasonCode, SubscribeOptions, Topic, Wildcard
from aiomqtt.protocol.codec.properties import decode_properties
from aiomqtt.protocol.wire import Reader
from aiomqtt.standard.tables import (
    PROPERTIES,
    DataType,
    PacketType,
    ProtocolVersion,
    Role,
)

# One valid value of each type.
VALID = {
    DataType.BYTE: 1,
    DataType.TWO_BYTE_INTEGER: 1000,
    DataType.FOUR_BYTE_INTEGER: 100_000,
    DataType.VARIABLE_BYTE_INTEGER: 200,
    DataType.BINARY_DATA: b"\xff",
    DataType.UTF8_STRING: "text",
    DataType.UTF8_STRING_PAIR: ("key", "value"),
}
ROWS = [
    pytest.param(
        row, [VALID[row.type]] if row.repeats else VALID[row.type], id=row.name
    )
    for row in PROPERTIES
]


# --- the names of properties ---------------------------------------------------


@pytest.mark.parametrize(("row", "value"), ROWS)
def test_a_property_has_two_names(row, value):
    by_snake = Properties(**{row.name: value})
    by_camel = Properties(**{row.camel_name: value})
    assert by_snake == by_camel
    for properties in (by_snake, by_camel):
        assert getattr(properties, row.name) == value
        assert getattr(properties, row.camel_name) == value


@pytest.mark.parametrize(("row", "value"), ROWS)
def test_a_property_that_is_absent(row, value):
    properties = Properties()
    assert getattr(properties, row.name) == (() if row.repeats else None)
    # As in paho-mqtt, `hasattr` tells by the CamelCase name.
    assert not hasattr(properties, row.camel_name)
    setattr(properties, row.camel_name, value)
    assert hasattr(properties, row.camel_name)
    setattr(properties, row.name, None)
    assert not hasattr(properties, row.camel_name)
    assert properties == Properties()


@pytest.mark.parametrize(("row", "value"), ROWS)
def test_a_property_can_be_deleted(row, value):
    properties = Properties(**{row.name: value})
    delattr(properties, row.name)
    assert properties == Properties()


@pytest.mark.parametrize(("row", "value"), ROWS)
def test_every_property_is_declared(row, value):
    # So editors and type checkers know them.
    assert row.name in Properties.__annotations__
    assert hasattr(Properties, row.name)


def test_nothing_but_properties_is_declared():
    names = {row.name for row in PROPERTIES}
    assert set(Properties.__annotations__) == names | {"packetType"}


# --- what the class of paho-mqtt has -----------------------------------------------


def filled(properties):
    properties.ContentType = "text/plain"
    properties.CorrelationData = b"\x01\xff"
    properties.MessageExpiryInterval = 60
    properties.UserProperty = ("a", "1")
    properties.UserProperty = ("b", "2")
    return properties


def test_properties_are_what_those_of_paho_are():
    ours = filled(Properties())
    theirs = filled(paho.Properties(PacketTypes.PUBLISH))
    assert ours.packetType == theirs.packetType
    assert ours.json() == theirs.json()
    assert json.loads(json.dumps(ours.json()))["CorrelationData"] == "01ff"
    assert ours.isEmpty() == theirs.isEmpty() is False
    assert Properties().isEmpty() == paho.Properties(PacketTypes.PUBLISH).isEmpty()
    shown = vars(theirs)
    for name, value in vars(ours).items():
        assert value == shown[name]
    assert set(vars(ours)) == set(ours.json())


def test_to_assign_a_repeated_one_by_its_name_of_paho_is_to_add():
    properties = Properties()
    properties.UserProperty = [("a", "1"), ("a", "2")]
    properties.UserProperty = ("b", "3")
    assert properties.user_property == [("a", "1"), ("a", "2"), ("b", "3")]
    properties.SubscriptionIdentifier = 5
    properties.SubscriptionIdentifier = 6
    assert properties.subscription_identifier == [5, 6]
    properties.user_property = [("c", "4")]
    assert properties.UserProperty == [("c", "4")]
    properties.user_property = None
    assert not hasattr(properties, "UserProperty")


def test_what_vars_shows_is_a_copy():
    properties = Properties(content_type="a")
    vars(properties)["ContentType"] = "b"
    assert properties == Properties(content_type="a")


@pytest.mark.parametrize("packet", [PacketType.CONNACK, PacketType.DISCONNECT])
def test_properties_know_the_packet_that_they_came_with(packet):
    reader = Reader(b"\x05\x1f\x00\x02no", 0, 6)
    came = decode_properties(reader, packet, ProtocolVersion.V5, Role.SERVER)
    assert came is not None
    assert came.packetType == packet
    assert came == Properties(reason_string="no")
    assert repr(came) == "Properties(reason_string='no')"
    for clone in (copy.deepcopy(came), pickle.loads(pickle.dumps(came))):
        assert (clone.packetType, clone) == (packet, came)
    assert came.without("reason_string").isEmpty()
    assert came.without("reason_string").packetType == packet


@pytest.mark.parametrize("empty", [[], (), iter(())])
def test_an_empty_sequence_means_absent(empty):
    properties = Properties(user_property=[("a", "b")])
    properties.user_property = empty
    assert not hasattr(properties, "UserProperty")
    assert properties == Properties()


@pytest.mark.parametrize("name", ["contentType", "content-type", "nonsense", "_x"])
def test_a_name_that_no_property_has(name):
    with pytest.raises(AttributeError, match=f"no property named {name!r}"):
        setattr(Properties(), name, 1)
    with pytest.raises(AttributeError, match=name):
        getattr(Properties(), name)
    with pytest.raises(AttributeError, match=name):
        Properties(**{name: 1})


def test_user_properties_are_given_in_several_ways():
    pairs = [("a", "1"), ("a", "2")]
    for value in (pairs, tuple(pairs), iter(pairs), [list(pair) for pair in pairs]):
        assert Properties(user_property=value).user_property == pairs
    # As paho-mqtt takes it: one pair stands for itself.
    assert Properties(UserProperty=("a", "1")).UserProperty == [("a", "1")]
    assert dict(Properties(user_property=pairs[1:]).UserProperty) == {"a": "2"}


def test_one_subscription_identifier_stands_for_itself():
    assert Properties(subscription_identifier=5).subscription_identifier == [5]
    assert Properties(SubscriptionIdentifier=[5]).SubscriptionIdentifier == [5]


def test_the_callers_list_is_not_kept():
    pairs = [("a", "1")]
    properties = Properties(user_property=pairs)
    pairs.append(("b", "2"))
    assert properties.user_property == [("a", "1")]


# --- the values of properties --------------------------------------------------

NUMBERS = [row for row in PROPERTIES if isinstance(VALID[row.type], int)]
STRINGS = [row for row in PROPERTIES if row.type is DataType.UTF8_STRING]
BINARIES = [row for row in PROPERTIES if row.type is DataType.BINARY_DATA]


def named(rows):
    return pytest.mark.parametrize("row", rows, ids=lambda row: row.name)


@pytest.mark.conformance("5.0", "MQTT-3.3.2-8")
@named(NUMBERS)
def test_a_number_has_its_range(row):
    for number in (row.minimum, row.largest):
        properties = Properties(**{row.name: number})
        assert getattr(properties, row.name) in (number, [number])
    for number in (row.minimum - 1, row.largest + 1):
        properties = Properties()
        rule = f"^{row.name} must be {row.minimum} to {row.largest}, not {number} "
        with pytest.raises(ValueError, match=rule):
            setattr(properties, row.name, number)
        assert properties == Properties()


@named(NUMBERS)
@pytest.mark.parametrize("value", ["1", 1.0, b"1", ("1",)])
def test_a_number_is_an_int(row, value):
    with pytest.raises(TypeError, match=f"^{row.name} must be "):
        Properties(**{row.name: value})


@named([row for row in NUMBERS if row.largest == 1])
def test_a_flag_may_be_a_bool(row):
    value = getattr(Properties(**{row.name: True}), row.name)
    assert type(value) is int
    assert value == 1


@pytest.mark.conformance("5.0", "MQTT-1.5.4-1", "MQTT-1.5.4-2")
@named(STRINGS)
@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("a\0", r"must not contain U\+0000"),
        ("\ud800", "must be well-formed UTF-8"),
        ("x" * 65_536, "must be at most 65535 bytes of UTF-8, not 65536"),
        ("é" * 32_768, "must be at most 65535 bytes of UTF-8, not 65536"),
    ],
    ids=["NUL", "surrogate", "too long", "too many bytes"],
)
def test_a_string_is_one_of_mqtt(row, value, rule):
    with pytest.raises(ValueError, match=f"^{row.name} {rule}"):
        Properties(**{row.name: value})


@named(STRINGS)
@pytest.mark.parametrize("value", [b"bytes", 1, ["a"]])
def test_a_string_is_a_str(row, value):
    with pytest.raises(TypeError, match=f"^{row.name} must be a str, not "):
        Properties(**{row.name: value})


@named(STRINGS)
def test_a_string_may_be_long(row):
    longest = "x" * 65_535
    assert getattr(Properties(**{row.name: longest}), row.name) == longest


@pytest.mark.conformance("5.0", "MQTT-3.3.2-13", "MQTT-3.3.2-14")
@pytest.mark.parametrize("value", ["a/+", "#", "a+b"])
def test_a_response_topic_has_no_wildcards(value):
    with pytest.raises(ValueError, match="^response_topic must not contain wildcards"):
        Properties(response_topic=value)


@pytest.mark.parametrize("name", ["response_topic", "ResponseTopic"])
def test_a_response_topic_may_be_a_topic(name):
    properties = Properties(**{name: Topic("a/b")})
    setattr(properties, name, Topic("a/c"))
    assert type(properties.response_topic) is str
    assert properties.response_topic == properties.ResponseTopic == "a/c"
    with pytest.raises(TypeError, match="must be a str, not Wildcard"):
        setattr(properties, name, Wildcard("a/c"))
    with pytest.raises(TypeError, match="content_type must be a str, not Topic"):
        Properties(content_type=Topic("a"))


@named(BINARIES)
def test_binary_data_is_bytes(row):
    assert getattr(Properties(**{row.name: bytearray(b"x")}), row.name) == b"x"
    with pytest.raises(TypeError, match=f"^{row.name} must be bytes, not str"):
        Properties(**{row.name: "text"})
    with pytest.raises(ValueError, match=f"^{row.name} must be at most 65535 bytes"):
        Properties(**{row.name: bytes(65_536)})


@pytest.mark.conformance("5.0", "MQTT-1.5.7-1")
@pytest.mark.parametrize(
    ("value", "error", "rule"),
    [
        ("ab", TypeError, "must be a list, not str"),
        (b"ab", TypeError, "must be a list, not bytes"),
        ({"a": "b"}, TypeError, "must hold pairs of str, not 'a'"),
        (["ab"], TypeError, "must hold pairs of str, not 'ab'"),
        ([("a",)], TypeError, "must hold pairs of str"),
        ([("a", "b", "c")], TypeError, "must hold pairs of str"),
        ([("a", 1)], TypeError, "must be a str, not int"),
        ([(b"a", "b")], TypeError, "must be a str, not bytes"),
        ([("a", "\0")], ValueError, r"must not contain U\+0000"),
        ([("\udfff", "b")], ValueError, "must be well-formed UTF-8"),
        ([("a", "x" * 65_536)], ValueError, "must be at most 65535 bytes"),
    ],
)
def test_user_properties_are_pairs_of_strings(value, error, rule):
    properties = Properties(user_property=[("a", "b")])
    with pytest.raises(error, match=f"^user_property {rule}"):
        properties.user_property = value
    # What was there stays.
    assert properties.user_property == [("a", "b")]


def test_properties_are_compared_by_value():
    assert Properties(content_type="a") == Properties(ContentType="a")
    assert Properties(content_type="a") != Properties(content_type="b")
    assert Properties(content_type="a") != Properties(content_type="a", topic_alias=1)
    assert Properties() != {}
    with pytest.raises(TypeError, match="unhashable"):
        hash(Properties())


def test_properties_are_copied_and_pickled():
    properties = Properties(user_property=[("a", "b")], correlation_data=b"\0")
    for clone in (
        copy.copy(properties),
        copy.deepcopy(properties),
        pickle.loads(pickle.dumps(properties)),
    ):
        assert clone == properties
        clone.topic_alias = 1
        assert clone != properties


def test_the_repr_shows_values_but_no_secrets():
    properties = Properties(
        content_type="a", authentication_method="m", authentication_data=b"secret"
    )
    assert repr(properties) == (
        "Properties(content_type='a', authentication_method='m',"
        " authentication_data=***)"
    )
    assert "secret" not in str(properties)
    assert repr(Properties()) == "Properties()"


# --- ReasonCode ----------------------------------------------------------------


def test_a_reason_code_is_a_number_with_a_name():
    code = ReasonCode(135)
    assert code == 135
    assert code != 136
    assert code in (4, 135)
    assert {135: "found"}[code] == "found"
    assert hash(code) == hash(135)
    assert isinstance(code, int)
    assert type(code.value) is int
    assert code.value == 135
    assert code.name == str(code) == "Not authorized"
    assert f"{code}" == "Not authorized"
    assert f"{code:#x}" == "0x87"
    assert repr(code) == "ReasonCode(135, 'Not authorized')"
    assert json.dumps([code]) == "[135]"


def test_a_reason_code_is_compared_with_names_too():
    # paho-mqtt's class does.
    assert ReasonCode(135) == "Not authorized"
    assert ReasonCode(135) != "Success"
    assert ReasonCode(135) != None  # noqa: E711
    assert ReasonCode(135) != object()


def test_reason_codes_are_ordered_as_numbers():
    assert ReasonCode(1) < ReasonCode(128) >= 128
    assert sorted([ReasonCode(135), ReasonCode(0)]) == [0, 135]


@pytest.mark.parametrize(
    ("value", "fails"),
    [(0, False), (2, False), (0x7F, False), (0x80, True), (255, True)],
)
def test_a_failure_is_0x80_and_above(value, fails):
    assert ReasonCode(value).is_failure is fails


def test_a_reason_code_may_have_another_name():
    code = ReasonCode(0, "Granted QoS 0")
    assert str(code) == "Granted QoS 0"
    assert code == ReasonCode(0)
    assert not code


def test_a_number_without_a_name():
    assert str(ReasonCode(77)) == "Unknown"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_reason_code_is_pickled_with_its_name(protocol):
    code = ReasonCode(5, "Not authorised")
    for clone in (pickle.loads(pickle.dumps(code, protocol)), copy.deepcopy(code)):
        assert type(clone) is ReasonCode
        assert (clone.value, clone.name) == (5, "Not authorised")


# --- SubscribeOptions ----------------------------------------------------------


def test_the_defaults_of_subscribe_options():
    options = SubscribeOptions()
    assert (options.qos, options.no_local) == (0, False)
    assert (options.retain_as_published, options.retain_handling) == (False, 0)


def test_subscribe_options_have_the_names_of_paho():
    options = SubscribeOptions(1, True, True, 2)
    assert (options.QoS, options.noLocal) == (1, True)
    assert (options.retainAsPublished, options.retainHandling) == (True, 2)


@pytest.mark.conformance("5.0", "MQTT-3.8.3-5")
@pytest.mark.parametrize("name", ["qos", "retain_handling"])
@pytest.mark.parametrize("value", [-1, 3, 128])
def test_subscribe_options_are_0_1_or_2(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be 0, 1 or 2, not {value}"):
        SubscribeOptions(**{name: value})


@pytest.mark.parametrize("name", ["qos", "retain_handling"])
@pytest.mark.parametrize("value", ["1", None, [0], 1.0, 1.5])
def test_subscribe_options_are_ints(name, value):
    with pytest.raises(TypeError, match=f"^{name} must be an int, not "):
        SubscribeOptions(**{name: value})


def test_subscribe_options_are_values():
    options = SubscribeOptions(qos=1)
    assert options == SubscribeOptions(1)
    assert hash(options) == hash(SubscribeOptions(1))
    assert options != SubscribeOptions(1, retain_handling=1)
    assert options != (1, False, False, 0)
    for name in ("qos", "no_local", "QoS", "no_such_option"):
        with pytest.raises(AttributeError):
            setattr(options, name, 2)


def test_subscribe_options_show_their_values():
    shown = (
        "SubscribeOptions(qos=1, no_local=True, retain_as_published=False,"
        " retain_handling=2)"
    )
    assert repr(SubscribeOptions(1, True, False, 2)) == shown


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_subscribe_options_are_copied_and_pickled(protocol):
    options = SubscribeOptions(1, True, False, 2)
    for clone in (pickle.loads(pickle.dumps(options, protocol)), copy.copy(options)):
        assert type(clone) is SubscribeOptions
        assert clone == options


def test_subscribe_options_are_matched():
    match SubscribeOptions(1, True):
        case SubscribeOptions(qos, no_local=True):
            assert qos == 1
        case _:
            pytest.fail("no match")
