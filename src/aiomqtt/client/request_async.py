"""Requests and their responses (MQTT 5.0 §4.10)."""

import asyncio
import math
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final

from aiomqtt.argument_checks import check_range, check_type
from aiomqtt.exceptions import MqttError
from aiomqtt.message import Message
from aiomqtt.paho import to_properties
from aiomqtt.payload import PayloadType
from aiomqtt.properties import Properties
from aiomqtt.protocol.delivery import copied_properties
from aiomqtt.standard.tables import ProtocolVersion
from aiomqtt.topic import Topic, TopicLike
from aiomqtt.types import PropertiesLike, RequestHandler, Subscription

from .arguments import check_timeout
from .calls import Calls
from .calls_async import wait_for_answer, wait_for_room
from .publication import to_publication
from .publish_async import Publisher
from .streaming_async import Streaming

if TYPE_CHECKING:
    from .response_topics import ResponseTopic, ResponseTopics
    from .serving_async import RequestServer
else:  # so that annotations can be read without importing these
    RequestServer = ResponseTopic = ResponseTopics = Any

# The largest Message Expiry Interval, in seconds.
LONGEST_EXPIRY: Final = 0xFFFF_FFFF


class Requester(Publisher, Streaming):
    """Sends requests of a client, and responds to those of others."""

    async def request(
        self,
        topic: TopicLike,
        payload: PayloadType = None,
        qos: int = 1,
        *,
        properties: PropertiesLike | None = None,
        timeout: float | None = None,
    ) -> Message:
        """Publish a request, and return the reply (MQTT 5.0 §4.10).

        The first request subscribes to a response topic, which all requests share until
        the client is left. It comes from the broker's Response Information if the
        CONNECT asked for it (`request_response_information`) and the broker gave one;
        otherwise it is made of the client identifier and a random part. Each request
        has its own correlation data, by which its reply is recognized. Replies are
        neither in `messages` nor in a stream, unless the program has subscribed to
        their topic there.

        The request expires with the timeout, so that nobody carries it out later, in
        vain; a `message_expiry_interval` in the properties takes precedence. After a
        timeout, an error or a cancellation it may nevertheless be carried out; a reply
        that still comes is ignored, and counted in `statistics`.

        If the connection ends, so does the request, unless the client reconnects: then
        it goes on waiting. Leaving the client without an exception waits for replies,
        within the client's timeout.

        Args:
            topic: The topic name.
            payload: As for `publish`.
            qos: 0, 1 or 2, for the request. The responder chooses that of the reply,
                which is at most 1.
            properties: The properties; ``None``: none. Their `response_topic` replaces
                the shared one, and their `correlation_data` a random one.
            timeout: How many seconds to wait for the reply; ``None``: the client's
                timeout; ``math.inf``: forever.

        Returns:
            The reply. Whether it is an error is between requester and responder.

        Raises:
            ValueError: The version is below 5.0; an argument violates a rule; or
                another request waits with the same correlation data. Nothing was sent.
            TypeError: An argument has a wrong type; nothing was sent.
            MqttCodeError: There is no connection, or the broker refused the request or
                the subscription.
            MqttError: The connection ended, or no reply came in time.
        """
        self._check_v5("request")
        name, data, qos, given = to_publication(topic, payload, qos, properties)
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        own = _copy(given)
        topics = self._to_response_topics()
        if own.response_topic is not None:
            Topic(own.response_topic)
        if own.correlation_data is not None and topics.pending.has(
            own.correlation_data
        ):
            msg = "another request waits with the same correlation_data"
            raise ValueError(msg)
        expires = own.message_expiry_interval is None and seconds <= LONGEST_EXPIRY
        if expires:
            own.message_expiry_interval = math.ceil(max(seconds, 0))
        self._engine.prepare(name, data, qos, False, own)
        calls = self._entered_calls()
        calls.check_loop()
        end = asyncio.get_running_loop().time() + seconds
        # From now on, no other request can have the same correlation data. The reply
        # may come before the acknowledgement of the request.
        waiter = calls.waiter(seconds)
        pending = topics.expect_reply(own.correlation_data, waiter)
        own.correlation_data = pending.correlation
        # Two calls wait: for the reply, and for what the broker has to answer first.
        calls.uncounted += 2
        try:
            try:
                pending.topic = await self._prepare_topic(
                    calls, topics, own.response_topic, end, seconds
                )
                own.response_topic = pending.topic
                if expires:
                    own.message_expiry_interval = math.ceil(_remaining(end))
                await self.publish(name, data, qos, False, own, timeout=_remaining(end))
            except MqttError:
                if pending.reply is None:
                    raise
            finally:
                calls.uncounted -= 1
            if pending.reply is None:
                what = f"no reply came within {seconds} seconds"
                await wait_for_answer(calls, waiter, what)
        finally:
            calls.uncounted -= 1
            topics.pending.remove(pending)
            calls.forget(waiter)
        assert pending.reply is not None
        return pending.reply

    async def _prepare_topic(
        self,
        calls: Calls,
        topics: "ResponseTopics",
        given: str | None,
        end: float,
        seconds: float,
    ) -> str:
        """Return a response topic to which the client is subscribed.

        Args:
            calls: The calls of the client.
            topics: Its response topics.
            given: The one of the program; None: the shared one.
            end: When the call times out, by the time of the event loop.
            seconds: The timeout of the call.
        """
        response = topics.get(given or topics.to_name(), calls)
        if topics.is_ready(response):
            return response.name
        if given is None and calls.is_waiting_for_connection:
            # The next broker may give other Response Information than the last one.
            await wait_for_room(calls, 0, _remaining(end))
            response = topics.get(topics.to_name(), calls)
        await self._subscribe_to_replies(calls, topics, response, end, seconds)
        return response.name

    async def _subscribe_to_replies(
        self,
        calls: Calls,
        topics: "ResponseTopics",
        response: "ResponseTopic",
        end: float,
        seconds: float,
    ) -> None:
        """Subscribe to a response topic, or wait for the call that does."""
        while not topics.is_ready(response):
            if response.is_subscribing:
                waiter = calls.waiter(_remaining(end))
                response.others.append(waiter)
                what = f"no SUBACK came within {seconds} seconds"
                await wait_for_answer(calls, waiter, what)
                continue
            response.is_subscribing = True
            try:
                await self._subscribe_to(calls, topics, response, end)
            finally:
                response.is_subscribing = False
                response.wake_others()

    async def _subscribe_to(
        self,
        calls: Calls,
        topics: "ResponseTopics",
        response: "ResponseTopic",
        end: float,
    ) -> None:
        from aiomqtt.streams.replies import ReplyStream

        from .response_topics import OPTIONS

        known = self._to_subscriptions(calls)
        # It may have ended with its session.
        response.stop_routing(known.router)
        opened = await self._open(
            calls,
            known,
            ReplyStream(topics.pending),
            [(response.name, OPTIONS)],
            None,
            _remaining(end),
        )
        response.queue = opened.queue
        response.is_subscribed = True
        response.is_inherited = False

    async def respond(
        self,
        message: Message,
        payload: PayloadType = None,
        qos: int | None = None,
        *,
        properties: PropertiesLike | None = None,
        timeout: float | None = None,
    ) -> None:
        """Publish the response to a request (MQTT 5.0 §4.10).

        It goes to the response topic of the request, with its correlation data, and
        returns as `publish` does, with the same effect of a cancellation.

        Args:
            message: The request.
            payload: As for `publish`.
            qos: 0, 1 or 2; ``None``: that of the request.
            properties: Further properties; ``None``: none.
            timeout: As for `publish`.

        Raises:
            ValueError: The version is below 5.0; the message has no response topic, so
                it asks for no response; or an argument violates a rule. Nothing was
                sent.
            TypeError: An argument has a wrong type; nothing was sent.
            MqttCodeError: The broker refused the response, or there is no connection.
            MqttError: The connection ended, or the call timed out.
        """
        self._check_v5("respond")
        check_type("message", message, Message)
        asked = message.properties
        if asked is None or asked.response_topic is None:
            msg = "the message has no response_topic: it asks for no response"
            raise ValueError(msg)
        given = to_properties("properties", properties)
        own = _copy(given)
        for wrong in ("response_topic", "correlation_data"):
            if getattr(own, wrong) is not None:
                msg = f"respond takes no {wrong}: it comes from the request"
                raise ValueError(msg)
        own.correlation_data = asked.correlation_data
        await self.publish(
            asked.response_topic,
            payload,
            message.qos if qos is None else qos,
            False,
            own,
            timeout=timeout,
        )

    def serve(
        self,
        topic_filter: Subscription | list[Subscription],
        handler: RequestHandler,
        *,
        qos: int = 1,
        concurrency: int = 1,
        timeout: float | None = None,
    ) -> "AbstractAsyncContextManager[RequestServer]":
        """Answer requests by a handler, within ``async with`` (MQTT 5.0 §4.10).

        Entering subscribes, as `stream` does. Then the handler is called with each
        request, in their order, and what it returns is the payload of the response, see
        `respond`. With ``None`` there is no response: the message does not ask for one,
        or the handler calls `respond` itself.

        If the handler raises an exception, this is logged as an error, with the
        traceback, and the request is not answered: what an error looks like is between
        requester and responder, so a handler that wants to report one returns it. So is
        a response that can't be published. Other requests go on being answered.

        Leaving unsubscribes, and waits until all requests that have come are answered;
        after an exception or a cancellation, or if leaving is cancelled, the running
        handlers are cancelled and the others not called.

        Args:
            topic_filter: The topic filter of the requests; a tuple of a filter and its
                QoS or its SubscribeOptions; or a list of either. Several servers share
                the requests by ``$share/<group>/<filter>``.
            handler: Takes a `Message` and returns the payload of its response, or
                ``None``. A coroutine function does not block the event loop.
            qos: The maximum QoS of requests for filters that come without one.
            concurrency: How many handlers may run at once; further requests wait.
            timeout: As for `stream`.

        Raises:
            ValueError: The version is below 5.0, or an argument violates a rule;
                nothing was sent.
            TypeError: An argument has a wrong type; nothing was sent.
        """
        self._check_v5("serve")
        if not callable(handler):
            msg = f"handler must be a callable, not {type(handler).__name__}"
            raise TypeError(msg)
        check_range("concurrency", concurrency, 1)
        # Most programs serve no requests.
        from .serving_async import serve

        filters = topic_filter if isinstance(topic_filter, list) else [topic_filter]
        # A handler has no say in it, and several may run at once.
        stream = self.stream(*filters, qos=qos, ack="receive", timeout=timeout)
        return serve(self, stream, handler, concurrency)

    def _check_v5(self, what: str) -> None:
        """Check that the version has response topics."""
        if self._engine.version < ProtocolVersion.V5:
            msg = f"{what} needs Client(protocol=ProtocolVersion.V5): only MQTT 5.0"
            raise ValueError(f"{msg} has response topics")

    def _to_response_topics(self) -> "ResponseTopics":
        """Return the response topics of the client; the first request creates them."""
        if self._response_topics is None:
            # Most programs send no requests.
            from .response_topics import ResponseTopics

            self._response_topics = ResponseTopics(self._engine)
        return self._response_topics


def _copy(properties: Properties | None) -> Properties:
    """Copy the program's properties, to add to them."""
    own = Properties()
    if properties is not None:
        own = copied_properties(properties) or own
        own.topic_alias = properties.topic_alias
    return own


def _remaining(end: float) -> float:
    """Return how many seconds are left until a time of the event loop."""
    return max(end - asyncio.get_running_loop().time(), 0)
