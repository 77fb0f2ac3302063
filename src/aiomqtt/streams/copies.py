"""What a copy of a message tells: for which filters it is, and what has caused it.

A broker may send one for each subscription that matches, or one for all (MQTT 5.0
§3.3.4), and the retained ones again for each SUBSCRIBE.
"""

from aiomqtt.message import Message

from .routed import RoutedFilter


def identifiers_of(message: Message, found: list[RoutedFilter]) -> list[int]:
    """Return the Subscription Identifiers of a message that these filters have."""
    properties = message.properties
    if properties is None:
        return []
    known = [routed.identifier for routed in found]
    return [each for each in properties.subscription_identifier or () if each in known]


def identifier_of(routed: RoutedFilter) -> int:
    """Return the Subscription Identifier of a filter; 0: it has none."""
    return routed.identifier


def is_for(routed: RoutedFilter, identifiers: list[int]) -> bool:
    """Return whether a copy with these identifiers is for a filter that it matches."""
    return not routed.identifier or routed.identifier in identifiers


def is_caused(
    message: Message, found: list[RoutedFilter], identifiers: list[int]
) -> bool:
    """Return whether a SUBSCRIBE has caused a retained message, as far as is known.

    Below 5.0 no other message should have the flag, but some brokers leave it set
    (MQTT 3.1.1 §3.3.1.3), and in 5.0 a program can ask for that.
    """
    if identifiers:
        found = [routed for routed in found if is_for(routed, identifiers)]
    for routed in found:
        if routed.options is not None and routed.options.retain_as_published:
            return False
    # It counts for the first of them that expects it.
    return any(routed.count_retained(message.topic.value) for routed in found)
