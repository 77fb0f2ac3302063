"""The copy that a delivery keeps of the program's properties."""

from aiomqtt.properties import Properties
from aiomqtt.protocol.delivery import QUEUED, Delivery, copied_properties


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
