"""A stream that is open: its entries of SUBSCRIBE packets, and their answers."""

import asyncio

import pytest

from aiomqtt import MqttCodeError, ReasonCode, SubscribeOptions
from aiomqtt.client.open_stream import (
    OpenStream,
    SubscribeEntry,
    merged,
    settle,
    to_error,
)
from aiomqtt.protocol.requests import Request
from aiomqtt.standard.tables import PacketType
from aiomqtt.streams.routed import RoutedFilter
from aiomqtt.streams.router import Router
from aiomqtt.streams.stream import MessageStream

NOT_AUTHORIZED = ReasonCode(0x87)


class Case:
    """A router, and streams with their entries."""

    def __init__(self):
        self.router = Router(MessageStream())
        self.entries = {}

    def open(self, *names):
        queue = self.router.add(MessageStream())
        waiter = asyncio.get_running_loop().create_future()
        pairs = [(name, SubscribeOptions()) for name in names]
        opened = OpenStream(pairs, None, queue, waiter)
        for routed in self.router.route(queue, names):
            entry = self.entries.setdefault(routed.name, SubscribeEntry(routed))
            entry.streams.append(opened)
        return opened

    def answer(self, *codes):
        request = Request(PacketType.SUBACK, [*self.entries], b"")
        request.reason_codes = [ReasonCode(code) for code in codes]
        settle(self.router, request, [*self.entries.values()])


async def test_each_stream_waits_for_the_answers_for_all_of_its_filters():
    case = Case()
    one, both = case.open("a"), case.open("a", "b")
    portion = [*case.entries.values()]
    case.entries.pop("b")
    case.answer(0)
    assert one.waiter.done()
    assert not both.waiter.done()
    case.entries = {"b": portion[1]}
    case.answer(0x87)
    assert both.waiter.done()
    assert one.refused == []
    assert both.refused == [("b", NOT_AUTHORIZED)]
    assert [entry.routed.is_granted for entry in portion] == [True, False]


@pytest.mark.parametrize("is_renewal", [False, True])
async def test_a_filter_whose_renewal_is_refused_has_no_identifier(is_renewal):
    case = Case()
    entry = SubscribeEntry(RoutedFilter("a"), is_renewal=is_renewal)
    case.router.set_identifier(entry.routed, 7)
    case.entries = {"a": entry}
    assert entry.is_needed is is_renewal
    case.answer(0x87)
    assert entry.routed.identifier == (0 if is_renewal else 7)


@pytest.mark.parametrize(
    ("handling", "expected"),
    [(0, 1), (1, 1), (2, 2)],
)
def test_a_renewal_does_not_ask_for_retained_messages_again(handling, expected):
    routed = RoutedFilter("a")
    routed.options = SubscribeOptions(1, True, True, handling)
    assert SubscribeEntry(routed).options == routed.options
    renewed = SubscribeEntry(routed, is_renewal=True).options
    assert renewed == SubscribeOptions(1, True, True, expected)


async def test_options_that_are_enough_for_all():
    case = Case()
    case.open("a")
    [routed] = case.router.route_default(["a"])
    routed.options = SubscribeOptions(1, True, False, 2)
    own = SubscribeOptions(0, False, True, 1)
    assert merged(own, routed) == SubscribeOptions(1, False, True, 1)
    assert merged(own, RoutedFilter("b")) == own


def test_the_error_names_the_filters_and_has_the_first_code():
    error = to_error([("a\n", NOT_AUTHORIZED), ("b", ReasonCode(0x8F))])
    assert isinstance(error, MqttCodeError)
    assert error.rc == 0x87
    assert "'a\\n' (Not authorized)" in str(error)
    assert "'b' (Topic filter invalid)" in str(error)
