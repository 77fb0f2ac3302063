"""The statistics of a client, as the program sees them."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiomqtt.protocol.engine import Engine
from aiomqtt.streams.stream import MessageStream

from .calls import Calls

if TYPE_CHECKING:
    from aiomqtt.streams.router import Router

    from .response_topics import ResponseTopics


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStatistics:
    """What a client has counted since it was created, and how much it holds now.

    It is immutable, and describes the time at which it was created. Sizes are in bytes.

    Attributes:
        connections: How many connections the broker has accepted.
        connections_lost: How many of these ended otherwise than by the program.
        reconnections: How many of these the client made by itself, after another one:
            see `reconnect`.
        seconds_connected: How long the present connection has lasted, in seconds;
            ``None``: there is none.
        ping_round_trip: How many seconds passed between the last PINGREQ that was
            answered and its PINGRESP, on the last connection; ``None``: the broker has
            not had to answer one, see `keepalive`.
        bytes_received: The number of bytes received. As for `bytes_sent`, they are
            those of MQTT, without TLS and WebSocket.
        bytes_sent: The number of bytes passed to the network.
        messages_received: How many messages came, without the repetitions at QoS 2.
        messages_discarded: How many of these were discarded, since too many waited for
            the program: see `max_queued_incoming_messages`.
        messages_published: How many messages were accepted from the program, to be sent
            at once or later.
        messages_dropped: How many of these were dropped before they were acknowledged:
            by the program, with `Client.drop`, or by its `OfflineQueue`.
        messages_expired: How many of these expired before they were sent.
        messages_lost: How many of these ended with their session, before they were
            acknowledged.
        incoming_messages: How many messages wait for the program, in `Client.messages`
            and in all streams; one that waits in two of them counts twice.
        incoming_bytes: About how much memory these take.
        unfinished_messages: How many messages with QoS 1 and 2 are not fully
            acknowledged, and how many with QoS 0 wait to be sent:
            `Client.pending_messages`.
        unfinished_bytes: The size of their packets.
        in_flight_messages: How many of these are sent, on the present connection.
        queued_messages: How many of these have never been sent.
        unsent_bytes: How much waits in the buffer of the transport.
        waiting_calls: How many calls wait for the broker's answer.
        waiting_publishers: How many calls wait until they may write.
        subscriptions: How many subscriptions the broker has granted to the session.
        replies_ignored: How many messages came on the response topics of
            `Client.request` that answer no request that still waits.
    """

    connections: int
    connections_lost: int
    reconnections: int
    seconds_connected: float | None
    ping_round_trip: float | None
    bytes_received: int
    bytes_sent: int
    messages_received: int
    messages_discarded: int
    messages_published: int
    messages_dropped: int
    messages_expired: int
    messages_lost: int
    incoming_messages: int
    incoming_bytes: int
    unfinished_messages: int
    unfinished_bytes: int
    in_flight_messages: int
    queued_messages: int
    unsent_bytes: int
    waiting_calls: int
    waiting_publishers: int
    subscriptions: int
    replies_ignored: int


def to_statistics(
    engine: Engine,
    calls: Calls | None,
    stream: MessageStream,
    router: "Router | None",
    topics: "ResponseTopics | None",
) -> ClientStatistics:
    """Return the statistics of a client.

    Args:
        engine: Its engine.
        calls: Its calls; None: it is not entered.
        stream: Its queue of received messages.
        router: Passes messages to its streams; None: there never was one.
        topics: Its response topics; None: it has sent no requests.
    """
    counts, outbound = engine.counts, engine.session.outbound
    incoming = len(stream), stream.size, stream.discarded
    if router is not None:
        incoming = router.totals()
    is_connected = calls is not None and calls.is_connected
    return ClientStatistics(
        connections=counts.connections,
        connections_lost=counts.connections_lost,
        reconnections=counts.reconnections,
        seconds_connected=None if calls is None else calls.seconds_connected,
        ping_round_trip=engine.keep_alive.round_trip,
        bytes_received=counts.bytes_received,
        bytes_sent=counts.bytes_sent,
        messages_received=counts.messages_received,
        messages_discarded=incoming[2],
        messages_published=counts.messages_published,
        messages_dropped=outbound.dropped,
        messages_expired=outbound.expired,
        messages_lost=outbound.lost,
        incoming_messages=incoming[0],
        incoming_bytes=incoming[1],
        unfinished_messages=len(outbound) + outbound.behind,
        unfinished_bytes=outbound.size + outbound.behind_size,
        in_flight_messages=outbound.in_flight if is_connected else 0,
        queued_messages=outbound.queued,
        unsent_bytes=_unsent_bytes(calls),
        waiting_calls=0 if calls is None else calls.waiting,
        waiting_publishers=0 if calls is None else calls.waiting_for_room,
        subscriptions=len(engine.session.subscriptions),
        replies_ignored=0 if topics is None else topics.pending.ignored,
    )


def _unsent_bytes(calls: Calls | None) -> int:
    transport: asyncio.Transport | None = None
    if calls is not None and not calls.is_over:
        transport = calls.driver.writer.transport
    return 0 if transport is None else transport.get_write_buffer_size()
