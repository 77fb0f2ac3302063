"""What one connection leaves for the next: requests, and lost subscriptions.

When a broker has lost the session, the client subscribes again to what the program has
subscribed to (MQTT 5.0 §3.2.2.1.1, §4.1). Requests that were not answered are written
again, with other packet identifiers, as those belong to the connection.
"""

from collections import deque
from typing import Final

from aiomqtt.properties import Properties, ReasonCode, SubscribeOptions
from aiomqtt.standard.tables import PacketType, ProtocolVersion

from .changes import StoredSubscription
from .negotiated import Negotiated, ServerLimits
from .requests import (
    MOST_FILTERS,
    Request,
    Requests,
    head_size,
    most_in_suback,
    payload_size,
    to_portions,
    to_subscribe,
    whole_size,
)
from .session import Session

# If a connection ends before a SUBSCRIBE that restores subscriptions is answered, the
# next ones are smaller by this factor, down to a number of filters that every broker
# accepts.
SHRINKING: Final = 8
FEWEST_FILTERS: Final = 8

Subscription = tuple[str, SubscribeOptions]


class Continuation:
    """Continues on each connection with what the last one has left.

    Args:
        session: The session, with the granted subscriptions.
        requests: The unanswered requests of the connection.
        version: The version of MQTT.
    """

    def __init__(
        self, session: Session, requests: Requests, version: ProtocolVersion
    ) -> None:
        self._session = session
        self._requests = requests
        self._version: ProtocolVersion = version
        # Valid for the session.
        self._most_filters = MOST_FILTERS
        # Valid until the broker accepts the next connection: what to write on it.
        self._unanswered: list[Request] = []
        # Valid for the connection: what waits for a packet identifier.
        self._waiting: deque[Request] = deque()

    # --- without a connection -----------------------------------------------------

    def interrupt(self, unanswered: list[Request]) -> list[Request]:
        """Handle the end of a connection; return the requests that end with it.

        Args:
            unanswered: The requests that were written on it and not answered.
        """
        ended: list[Request] = []
        was_restoring = False
        for request in [*unanswered, *self._waiting]:
            if request.is_restoration:
                was_restoring = True
            elif request.is_abandoned:
                ended.append(request)
            else:
                request.packet_id = 0
                self._unanswered.append(request)
        self._waiting.clear()
        if was_restoring:
            fewer = self._most_filters // SHRINKING
            self._most_filters = max(FEWEST_FILTERS, fewer)
        return ended

    def keep(self, request: Request) -> None:
        """Keep a request that the program makes without a connection."""
        self._unanswered.append(request)

    def abandon(self, request: Request) -> bool:
        """Forget a request that is not written; False: it is written, or done."""
        for kept in (self._unanswered, self._waiting):
            if request in kept:
                kept.remove(request)
                return True
        return False

    def give_up(self) -> list[Request]:
        """Return the requests that end because there is no next connection."""
        requests, self._unanswered = self._unanswered, []
        return requests

    # --- with a connection --------------------------------------------------------

    def resume(
        self, is_session_kept: bool, negotiated: Negotiated, out: list[bytes]
    ) -> list[Request]:
        """Restore the lost subscriptions, then write the unanswered requests again.

        Args:
            is_session_kept: Whether the broker has the session, and says so.
            negotiated: The limits of the connection.
            out: The buffer to write to.

        Returns:
            The requests that this connection forbids, with reason codes.
        """
        session = self._session
        requests, self._unanswered = self._unanswered, []
        lost = session.subscriptions
        if is_session_kept:
            # The last connection ended before the broker has restored these.
            lost = {name: one for name, one in lost.items() if not one.is_confirmed}
        # The broker does not have these: what it will have, the last request decides.
        changing = {name: each.answer for each in requests for name in each.filters}
        for topic_filter in [*lost]:
            if changing.get(topic_filter) is PacketType.UNSUBACK:
                session.forget_subscription(topic_filter)
            else:
                # If the SUBSCRIBE is not answered, the next connection restores it.
                session.lose_subscription(topic_filter)
        lost = {name: lost[name] for name in lost if name not in changing}
        refused: list[Request] = []
        for request in [*self._to_restore(lost, negotiated), *requests]:
            code = negotiated.limits.refusal_of_request(request)
            if code:
                refused.append(request)
                request.reason_codes = [ReasonCode(code)] * len(request.filters)
                session.on_answer(request)
            else:
                self._waiting.append(request)
        self.pump(out)
        return refused

    def pump(self, out: list[bytes]) -> None:
        """Write the requests that wait, as far as there are packet identifiers."""
        outbound = self._session.outbound
        while self._waiting:
            if not self._requests.write(self._waiting[0], outbound, out):
                return
            self._waiting.popleft()

    # --- few packets ----------------------------------------------------------------

    def _to_restore(
        self, lost: dict[str, StoredSubscription], negotiated: Negotiated
    ) -> list[Request]:
        """Return the requests that restore subscriptions, as few as the limits allow.

        Those that the broker does not allow have a request of their own.
        """
        limits = negotiated.limits
        groups: dict[int, list[Subscription]] = {}
        refused: list[Request] = []
        for topic_filter, stored in lost.items():
            subscription = (topic_filter, stored.options)
            code = limits.refusal_to_subscribe([topic_filter], False)
            length = head_size(self._version, stored.identifier)
            size = whole_size(length + payload_size(topic_filter))
            if code or limits.refusal(0, size):
                refused.append(
                    self._restoration([subscription], stored.identifier, limits)
                )
            else:
                groups.setdefault(stored.identifier, []).append(subscription)
        most_bytes = limits.maximum_packet_size
        own_maximum = negotiated.announced.maximum_packet_size
        most_filters = min(self._most_filters, most_in_suback(own_maximum))
        return refused + [
            self._restoration(portion, identifier, limits)
            # In the order in which the client's streams rely on them.
            for identifier, group in sorted(groups.items(), key=lambda group: group[0])
            for portion in to_portions(
                group,
                lambda subscription: subscription[0],
                head_size(self._version, identifier),
                most_bytes,
                most_filters,
            )
        ]

    def _restoration(
        self, subscriptions: list[Subscription], identifier: int, limits: ServerLimits
    ) -> Request:
        properties = None
        if identifier and limits.identifiers:
            properties = Properties(subscription_identifier=[identifier])
        request = to_subscribe(subscriptions, properties, self._version)
        request.is_restoration = True
        # Another broker, which has identifiers, may have to restore it later.
        request.identifier = identifier
        return request
