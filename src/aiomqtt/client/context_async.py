"""Entering and leaving a client: it connects, and disconnects."""

import asyncio
import contextlib
from types import TracebackType
from typing import TYPE_CHECKING, Self

from aiomqtt.argument_checks import check_type
from aiomqtt.exceptions import MqttError, MqttReentrantError
from aiomqtt.paho import to_properties
from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.types import PropertiesLike

from .arguments import check_timeout
from .attempts_async import connect_to_first
from .calls import Calls
from .calls_async import close
from .fields import ClientFields

if TYPE_CHECKING:
    from .durable_async import SessionKeeper
    from .reconnect import Reconnect


class ClientContext(ClientFields):
    """Connects a client, authenticates it again, and disconnects it."""

    async def __aenter__(self) -> Self:
        """Connect to the broker (MQTT 5.0 §3.1); returns when it has accepted.

        After a cancellation or an error nothing is left behind, and the client can be
        entered again.

        Raises:
            MqttReentrantError: The client is entered already.
            MqttConnectError: The broker refused the connection, with its code.
            MqttError: The broker could not be reached, the connection ended, or the
                timeout; or a callable of the program, such as `credentials`, raised an
                error.
            ValueError: Such a callable returned a value that violates a rule.
            TypeError: Such a callable returned a value of a wrong type.
        """
        self._belong_to(asyncio.get_running_loop())
        if self._is_entered:
            msg = "The client context manager is reusable, but not reentrant"
            raise MqttReentrantError(msg)
        self._is_entered = True
        if self._keeper is not None:
            await self._open_session(self._keeper)
        incoming = self._stream if self._router is None else self._router
        incoming.expect()
        if self._plain_filters:
            self._forget_ended_filters()
        first = str(self._addresses.targets[0])
        calls = self._calls = Calls(
            self._engine,
            incoming,
            self._logger,
            first,
            self.timeout,
            self._reconnect is not None,
            None if self._keeper is None else self._keeper.commit,
        )
        if self._keeper is not None:
            self._keeper.follow(calls)
        self._prepare_offline(calls)
        if self._response_topics is not None and self._router is not None:
            self._response_topics.expect(self._router, calls)
        try:
            if self._reconnect is not None:
                await self._supervise(calls, self._reconnect)
            else:
                await connect_to_first(
                    calls,
                    self._engine,
                    self._addresses,
                    self.timeout,
                    self._renewal,
                    self._authenticator,
                )
        except BaseException as error:
            calls.driver.abort()
            try:
                await _settle(calls)
            finally:
                reason = error if isinstance(error, MqttError) else None
                await self._undo_entering(calls, reason)
            raise
        return self

    async def _undo_entering(self, calls: Calls, error: MqttError | None) -> None:
        if self._reconnect is not None:
            calls.give_up(error)
        # Another task may have left the client meanwhile, and entered it again.
        if self._calls is None or self._calls is calls:
            was_left = self._calls is None
            self._calls = None
            self._is_entered = False
            (self._stream if self._router is None else self._router).close(error)
            if not was_left:
                self._on_left()
            await self._close_session(calls)

    async def _open_session(self, keeper: "SessionKeeper") -> None:
        """Open the store of the session, if there is one."""
        try:
            was_read = await keeper.open()
            loaded = await keeper.load()
        except BaseException:
            self._is_entered = False
            raise
        if self._queued_messages is not None:
            now = asyncio.get_running_loop().time()
            if was_read:
                self._queued_messages.resume(now)
            else:
                self._queued_messages.take_over(loaded, now)

    async def _close_session(self, calls: Calls) -> None:
        """Close the store of the session when everything is in it."""
        if self._keeper is not None:
            try:
                await _settle(calls)
            finally:
                await self._keeper.close()

    def _forget_ended_filters(self) -> None:
        """Forget the filters of `subscribe` calls that ended with their session."""
        for name in [*self._plain]:
            if name not in self._engine.session.subscriptions:
                del self._plain[name]

    def _prepare_offline(self, calls: Calls) -> None:
        """Give the calls what becomes of messages without a connection."""
        if self._queued_messages is not None:
            from .offline_calls import OfflineCalls

            calls.offline = OfflineCalls(calls, self._engine, self._queued_messages)

    async def _supervise(self, calls: Calls, reconnect: "Reconnect") -> None:
        """Connect for the first time, and stay connected from then on."""
        # Most programs never need it.
        from .supervision_async import ConnectionDialer, Supervision

        assert self._journal is not None
        dialer = ConnectionDialer(
            calls,
            self._engine,
            self._addresses,
            # The program may change it meanwhile.
            lambda: self.timeout,
            self._renewal,
            self._authenticator,
            self._birth,
            self._on_refused_filters,
        )
        supervision = Supervision(dialer, calls, reconnect, self._journal)
        self._supervision = supervision
        await supervision.enter()

    def _on_refused_filters(self, refused: list[tuple[str, ReasonCode]]) -> None:
        """End the streams whose subscriptions a broker did not restore."""
        for name, _ in refused:
            self._plain.pop(name, None)
        if self._subscriptions is not None:
            self._subscriptions.on_refused_filters(refused)

    def _on_left(self) -> None:
        """Tell the program that the client was left."""
        self._supervision = None
        if self._journal is not None:
            from .states import ConnectionState, StateChange

            self._journal.report(StateChange(ConnectionState.LEFT))

    def _belong_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use this event loop from now on, if the client is not entered in another."""
        if loop is self._entered_loop:
            return
        self._forget_closed_loop()
        if not self._is_entered:
            self._entered_loop = loop
            if self._maximum_calls is not None:
                self._call_slots = asyncio.Semaphore(self._maximum_calls)

    def _forget_closed_loop(self) -> None:
        """Leave the client if the event loop that it was entered in was closed."""
        if self._entered_loop is not None and self._entered_loop.is_closed():
            # The waiting tasks ended with the loop.
            calls, self._calls = self._calls, None
            self._is_entered = False
            (self._stream if self._router is None else self._router).abandon()
            if calls is not None:
                calls.abandon()
            if self._keeper is not None:
                self._keeper.abandon()
            supervision, self._supervision = self._supervision, None
            if supervision is not None:
                supervision.abandon()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Disconnect from the broker (MQTT 5.0 §3.14); returns when that is done.

        Everything that was published is written first; from now on `publish` raises.
        Without an exception, calls that still wait for the broker's answer in other
        tasks get it, within the timeout. Harmless when the client is not entered.
        A cancellation cuts the connection.
        """
        self._forget_closed_loop()
        if self._calls is not None:
            await self._leave(self._calls, flush=exc_type is None)

    async def disconnect(
        self,
        reason_code: int = 0,
        properties: PropertiesLike | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Leave the client, and tell the broker why (MQTT 5.0 §3.14).

        The same as leaving `async with`, but with a reason code and properties:
        everything that was published is written first, calls that wait for the
        broker's answer get it, and no new ones are accepted. Returns when the
        connection is closed. It is harmless to leave the context afterwards, to call
        this again, or to call it while the client is not entered. A cancellation cuts
        the connection.

        Args:
            reason_code: 0: the broker discards the will. 0x04: it publishes the will
                (Disconnect with Will Message). See MQTT 5.0 §3.14.2.1; 0 below 5.0.
            properties: The properties of the DISCONNECT (5.0 only), such as
                `session_expiry_interval`: 0 ends a session that would last; more
                than 0 needs a CONNECT that said more than 0. ``None``: none.
            timeout: How many seconds to wait for unfinished calls, and again for
                the connection to close; ``None``: the client's timeout;
                ``math.inf``: forever.

        Raises:
            ValueError: An argument violates a rule, or this version does not have it;
                the connection goes on.
            TypeError: An argument has a wrong type; the connection goes on.
            MqttError: This task is in a transaction of the session; the same.
        """
        check_type("reason_code", reason_code, int)
        properties = to_properties("properties", properties)
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        self._engine.check_disconnect(reason_code, properties)
        if self._keeper is not None:
            self._keeper.check_not_in_transaction()
        self._forget_closed_loop()
        if self._calls is not None:
            self._calls.set_timeout(seconds)
            await self._leave(self._calls, True, reason_code, properties)

    async def reauthenticate(self, *, timeout: float | None = None) -> None:
        """Authenticate again while connected (MQTT 5.0 §4.12.1), as with a new token.

        The `authenticator` begins again; meanwhile messages come and go as before.
        Returns when both sides have accepted. If that fails, or is cancelled, after the
        first AUTH was sent, the connection ends, as the standard requires.

        Args:
            timeout: How many seconds it may take; ``None``: the client's timeout;
                ``math.inf``: forever.

        Raises:
            MqttCodeError: There is no connection.
            MqttError: The broker refused, the authenticator failed (it is the cause),
                the connection ended, the timeout, or an authentication is in progress.
            ValueError: The client has no `authenticator`.
        """
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        if self._authenticator is None:
            msg = "reauthenticate needs a Client with an authenticator"
            raise ValueError(msg)
        from .authentication import reauthenticate

        await reauthenticate(self._calls, self._engine, self._authenticator, seconds)

    async def _leave(
        self,
        calls: Calls,
        flush: bool,
        reason_code: int = 0,
        properties: Properties | None = None,
    ) -> None:
        try:
            if self._supervision is not None:
                calls.leave()
                await self._supervision.stop(calls.timeout)
            await close(
                calls, flush, reason_code, properties, self._unsubscribe_from_replies
            )
        finally:
            calls.driver.abort()
            self._addresses.on_end(calls.error)
            if self._calls is calls:
                # Nobody enters again before the session is closed.
                try:
                    await self._close_session(calls)
                finally:
                    self._calls = None
                    self._is_entered = False
                    self._on_left()

    def _unsubscribe_from_replies(self) -> None:
        """Unsubscribe from the response topics, so that no session gathers replies."""
        topics, router, calls = self._response_topics, self._router, self._calls
        if topics is None or router is None or calls is None or not calls.is_connected:
            return
        unwanted = topics.leave(router, self._plain_filters or ())
        if unwanted:
            with contextlib.suppress(MqttError):
                self._engine.unsubscribe(unwanted, None)


async def _settle(calls: Calls) -> None:
    """Return when all changes of the session are stored; a cancellation gives up."""
    if calls.commits is None:
        return
    try:
        await calls.commits.settled()
    except asyncio.CancelledError:
        await calls.commits.give_up()
        raise
