"""The fields of a client that the classes of its methods share."""

import asyncio
from typing import TYPE_CHECKING

from aiomqtt.log import SafeLogger
from aiomqtt.properties import SubscribeOptions
from aiomqtt.protocol.engine import Engine
from aiomqtt.streams.stream import MessageStream

from .addresses import Addresses
from .calls import Calls

if TYPE_CHECKING:
    from aiomqtt.streams.router import Router

    from .authentication import Authenticator
    from .birth_async import Birth
    from .durable_async import SessionKeeper
    from .offline import OfflineMode
    from .queued_messages import QueuedMessages
    from .reconnect import Reconnect
    from .renewal import Renewal
    from .response_topics import ResponseTopics
    from .states import StateJournal
    from .subscriptions import Subscriptions
    from .supervision_async import Supervision


class ClientFields:
    """Declares the fields that `Client` creates; it documents their lifetimes."""

    timeout: float
    pending_calls_threshold: int
    _addresses: Addresses
    _authenticator: "Authenticator | None"
    _birth: "Birth | None"
    _call_slots: asyncio.Semaphore | None
    _calls: Calls | None
    _engine: Engine
    _entered_loop: asyncio.AbstractEventLoop | None
    _is_entered: bool
    _journal: "StateJournal | None"
    _keeper: "SessionKeeper | None"
    _logger: SafeLogger
    _maximum_calls: int | None
    # The filters of `subscribe` calls, until `unsubscribe`, with their options and
    # Subscription Identifiers (0: none); None: there were no calls.
    _plain_filters: dict[str, tuple[SubscribeOptions, int]] | None = None
    _reconnect: "Reconnect | None"
    _offline: "OfflineMode"
    _queued_messages: "QueuedMessages | None"
    _renewal: "Renewal | None"
    # None: no stream has been opened yet.
    _router: "Router | None" = None
    # None: no request was made yet.
    _response_topics: "ResponseTopics | None" = None
    _stream: MessageStream
    _subscriptions: "Subscriptions | None" = None

    @property
    def _plain(self) -> dict[str, tuple[SubscribeOptions, int]]:
        """The filters of `subscribe` calls, until `unsubscribe`."""
        if self._plain_filters is None:
            self._plain_filters = {}
        return self._plain_filters

    _supervision: "Supervision | None"

    def _set_left(self) -> None:
        """Set the fields of a client that has not been entered."""
        # Valid for the event loop that the client is entered in.
        self._entered_loop = None
        self._call_slots = None
        # Valid from entering to leaving.
        self._is_entered = False
        self._calls = None
        self._supervision = None
