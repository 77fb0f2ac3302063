"""Messages that wait in a store are read in portions, as the client gets to them.

Like all coroutines that wait, these are not compiled.
"""

from typing import Final

from aiomqtt.protocol.changes import StoredDelivery
from aiomqtt.protocol.delivery import DELIVERY_SIZE
from aiomqtt.protocol.outbound import Outbound
from aiomqtt.stores.base import OpenedSession, SessionStore, SessionStoreError

# How many of them are read when a session is opened: their sizes are not known yet.
FIRST_PAGE: Final = 64
# How many are read at a time, and about how many bytes of memory they may take.
PAGE: Final = 1024
PAGE_SIZE: Final = 4 * 1024 * 1024


class Pages:
    """Reads the messages of one session that only the store has.

    Args:
        store: The store.
        outbound: The messages of the session.
    """

    def __init__(self, store: SessionStore, outbound: Outbound) -> None:
        # Valid as long as the client.
        self._store = store
        self._outbound = outbound
        # Valid for the session, as it was read: the place of the last message that was
        # read, and the sequence of the last one that had been published.
        self._place = 0
        self._last_sequence = 0

    def restart(self, opened: OpenedSession) -> None:
        """Go on after the messages that were read when the session was opened."""
        self._place = opened.place
        self._last_sequence = opened.state.last_sequence

    def wanted(self) -> int:
        """Return how many messages to read now; 0: there are enough."""
        outbound = self._outbound
        if not outbound.behind:
            return 0
        average = outbound.behind_size // outbound.behind + DELIVERY_SIZE
        count = min(PAGE, max(1, PAGE_SIZE // average))
        if outbound.next_queued > count // 2:
            return 0
        return min(count, outbound.behind)

    async def read(self) -> list[StoredDelivery]:
        """Read the next messages, if it is time to; the store has its turn.

        Raises:
            SessionStoreError: They can't be read.
        """
        count = self.wanted()
        found: list[StoredDelivery] = []
        while count and not found:
            loaded = await self._store.load_queued(self._place, count)
            if not loaded:
                msg = (
                    f"The session is damaged: {self._outbound.behind} messages that"
                    " wait are missing"
                )
                raise SessionStoreError(msg)
            self._place = loaded[-1][0]
            # A message that was put before these since then is known already.
            found = [one for _, one in loaded if one.sequence <= self._last_sequence]
        return found
