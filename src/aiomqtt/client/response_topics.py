"""The topics on which a client receives the replies to its requests."""

import os
from collections.abc import Container
from typing import Final

from aiomqtt.message import NO_PROPERTIES
from aiomqtt.properties import SubscribeOptions
from aiomqtt.protocol.engine import Engine
from aiomqtt.streams.replies import PendingReplies, PendingReply, ReplyStream
from aiomqtt.streams.routed import RoutedQueue
from aiomqtt.streams.router import Router
from aiomqtt.topic import Topic

from .calls import Calls
from .waiters import Waiter, resolve

# The random bytes of a response topic, and of correlation data.
TOKEN_SIZE: Final = 8
CORRELATION_SIZE: Final = 16
# So many characters of the client identifier are part of a response topic.
LONGEST_NAME: Final = 64
# A retained message is no reply. With QoS 2, replies would take two round trips; that
# one comes twice does no harm, as the second one is ignored.
OPTIONS: Final = SubscribeOptions(qos=1, retain_handling=2)


class ResponseTopic:
    """A response topic, from entering to leaving the client.

    Attributes:
        name: The topic.
        queue: Where its messages go; None: they have no place of their own yet.
        is_subscribed: Whether the broker has granted the subscription.
        is_inherited: Whether it did so before the client was entered.
        is_subscribing: Whether a call is subscribing now.
        others: The calls that wait for that one.
    """

    def __init__(self, name: str) -> None:
        self.name: str = name
        self.queue: RoutedQueue | None = None
        self.is_subscribed: bool = False
        self.is_inherited: bool = False
        self.is_subscribing: bool = False
        self.others: list[Waiter] = []

    def wake_others(self) -> None:
        """Let the other calls go on: one subscribes if this one could not."""
        others, self.others = self.others, []
        for waiter in others:
            resolve(waiter, None)

    def stop_routing(self, router: Router) -> bool:
        """Take its messages no longer; return whether nobody else wants them."""
        queue, self.queue = self.queue, None
        unwanted = [] if queue is None else router.remove(queue)
        for routed in unwanted:
            router.drop(routed)
        return bool(unwanted)


class ResponseTopics:
    """The response topics of a client, and the replies that come there.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: Engine) -> None:
        # Valid as long as the client.
        self._engine = engine
        self._token = os.urandom(TOKEN_SIZE).hex()
        self.pending: PendingReplies = PendingReplies()
        # Valid from entering to leaving. The names stay, for a session that lasts.
        self._calls: Calls | None = None
        self._topics: dict[str, ResponseTopic] = {}

    def expect(self, router: Router, calls: Calls) -> None:
        """Begin with a client that is being entered.

        A session that lasts may still have replies to requests of the time before: they
        are not for the program.
        """
        before, self._topics, self._calls = self._topics, {}, calls
        if self._engine.session.exists:
            for name, topic in before.items():
                self._topics[name] = again = ResponseTopic(name)
                again.is_subscribed = topic.is_subscribed
                again.is_inherited = True
                self.route(again, router)

    def get(self, name: str, calls: Calls) -> ResponseTopic:
        """Return a response topic by its name."""
        if self._calls is not calls:
            # The client had no router when it was entered.
            self._calls = calls
            self._topics = {}
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = ResponseTopic(name)
        return topic

    def is_ready(self, topic: ResponseTopic) -> bool:
        """Whether replies on it reach the client.

        The subscription may have ended with its session.
        """
        connack = self._engine.connack
        is_resumed = connack is not None and connack.session_present
        return (
            topic.is_subscribed
            and topic.queue is not None
            and (is_resumed or not topic.is_inherited)
            and topic.name in self._engine.session.subscriptions
        )

    def route(self, topic: ResponseTopic, router: Router) -> None:
        """Give its messages a place of their own."""
        topic.queue = router.add(ReplyStream(self.pending))
        router.route(topic.queue, [topic.name])

    def leave(self, router: Router, plain: Container[str]) -> list[str]:
        """Leave the client: return the topics to unsubscribe from.

        Args:
            router: The router.
            plain: The filters of the program's own subscriptions.
        """
        unwanted = []
        for topic in self._topics.values():
            is_unwanted = topic.stop_routing(router) and topic.name not in plain
            if is_unwanted and topic.is_subscribed and self._engine.session.exists:
                unwanted.append(topic.name)
            topic.is_subscribed = False
        return unwanted

    # --- requests -------------------------------------------------------------------

    def to_name(self) -> str:
        """Return the shared response topic (§4.10.1).

        It contains a random part: who has not got a request can't reply to it.
        """
        connack = self._engine.connack
        said = (connack and connack.properties) or NO_PROPERTIES
        information = said.response_information
        if information:
            name = f"{information.removesuffix('/')}/{self._token}"
            try:
                return Topic(name).value
            except ValueError:
                # It is no part of a topic, so it means something else to this broker.
                pass
        client_id = "".join(
            character if character.isalnum() or character in "-_." else "-"
            for character in self._engine.session.client_id[:LONGEST_NAME]
        )
        return f"responses/{client_id or '-'}/{self._token}"

    def expect_reply(self, correlation: bytes | None, waiter: Waiter) -> PendingReply:
        """Begin to wait for a reply, which comes once the response topic is set.

        `PendingReplies.remove` ends it.

        Args:
            correlation: The correlation data; None: a random one.
            waiter: Resolves when it comes.
        """
        if correlation is None:
            correlation = os.urandom(CORRELATION_SIZE)
        pending = PendingReply(correlation, waiter)
        self.pending.add(pending)
        return pending
