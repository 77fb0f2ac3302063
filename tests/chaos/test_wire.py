"""When a message that comes twice is the fault of the broker, and when not."""

import pytest

from tests.chaos.peer import PUBLISH, PUBREL, text
from tests.chaos.wire import MOST_KEPT, ReleaseWatch

DUP = 8


def published(number, packet_id, flags=0, qos=2):
    """What is seen of a PUBLISH."""
    body = text("t") + packet_id.to_bytes(2) + number.to_bytes(8) + b"more"
    return PUBLISH, qos << 1 | flags, body


def released(packet_id):
    return PUBREL, 2, packet_id.to_bytes(2)


@pytest.mark.parametrize(
    ("packets", "excused"),
    [
        ([published(7, 1), released(1), published(7, 1, DUP)], [7]),
        # Before PUBREL, the broker has to send it again.
        ([published(7, 1), published(7, 1, DUP), released(1)], []),
        # The identifier belongs to another message by now.
        ([published(7, 1), released(1), published(8, 1, DUP)], []),
        ([published(7, 1), released(1), published(7, 1)], []),
        ([published(7, 1), released(1), published(7, 2, DUP)], []),
        # It has not been seen before.
        ([released(1), published(7, 1, DUP)], []),
        ([published(7, 1, qos=1), released(1), published(7, 1, DUP, qos=1)], []),
    ],
)
def test_only_what_was_released_is_excused(packets, excused):
    found = []
    watch = ReleaseWatch(4, lambda topic, payload: found.append((topic, payload)))
    for packet in packets:
        watch.see(*packet)
    assert found == [("t", number.to_bytes(8)) for number in excused]


def test_little_is_kept():
    watch = ReleaseWatch(4, lambda *_: None)
    for number in range(3 * MOST_KEPT):
        watch.see(*published(number, number % 65535))
        watch.see(*released(number % 65535))
    assert len(watch._released) == MOST_KEPT
    assert not watch._published
