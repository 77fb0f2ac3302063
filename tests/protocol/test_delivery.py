"""The copy that a delivery keeps of the program's properties."""

from aiomqtt.properties import Properties
from aiomqtt.protocol.delivery import QUEUED, Delivery, copied_properties, packet_size


def test_a_delivery_begins_in_the_queue():
    delivery = Delivery("t", b"x", 1, False, None, 8)
    assert (delivery.state, delivery.packet_id, delivery.alias) == (QUEUED, 0, 0)


def test_the_copy_of_properties_does_not_change_with_them():
    properties = Properties(user_property=[("a", "b")], content_type="c")
    copied = copied_properties(properties)
    assert copied == properties
    properties.UserProperty = ("c", "d")
    properties.content_type = None
    assert copied == Properties(user_property=[("a", "b")], content_type="c")


def test_a_topic_alias_is_not_kept_with_the_properties():
    assert copied_properties(Properties(topic_alias=1, content_type="c")) == Properties(
        content_type="c"
    )
    assert copied_properties(Properties(topic_alias=1)) is None
    assert copied_properties(Properties()) is None


def test_a_packet_has_an_identifier_unless_its_qos_is_0():
    assert [packet_size(qos, b"abc", b"de") for qos in (0, 1, 2)] == [5, 7, 7]
