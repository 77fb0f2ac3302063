"""Asking the program's hooks; a hook that fails denies."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiomqtt.broker.core.connection import ClientConnection
from aiomqtt.broker.core.events import (
    AuthenticationStarted,
    ConnectPermission,
    PermissionRequest,
    SubscribePermission,
)
from aiomqtt.broker.hooks import (
    Action,
    Authenticate,
    Authorize,
    ClientInfo,
    EnhancedAuthentication,
    Refusal,
    to_refusal,
)
from aiomqtt.log import SafeLogger
from aiomqtt.protocol.wire import encode_binary
from aiomqtt.standard.names import (
    BAD_AUTHENTICATION_METHOD,
    BAD_USER_NAME_OR_PASSWORD,
    NOT_AUTHORIZED,
    UNSPECIFIED_ERROR,
)

ENHANCED: Final = "enhanced_authentication"
# The number of one client's topics to ask about before others have their turn.
REQUESTS_PER_TURN: Final = 100
HOOK_FAILED: Final = "The hook %s failed: the client is denied"


class Exchange:
    """An enhanced authentication in progress; see `hooks.Authentication`."""

    def __init__(
        self,
        connection: ClientConnection,
        flush: Callable[[], None],
        began: AuthenticationStarted,
    ) -> None:
        self.client: ClientInfo = connection.info
        self.method: str = began.method
        self.data: bytes | None = began.data
        self.is_again: bool = connection.is_connected
        self.username: str | None = None
        self._connection = connection
        self._flush = flush
        self._answer: asyncio.Future[bytes | None] | None = None
        # Whether the hook has decided.
        self.is_over = False

    async def challenge(self, data: bytes | None = None) -> bytes | None:
        """Send an AUTH that continues; return the Authentication Data of the answer.

        When the connection ends, the hook is cancelled.

        Args:
            data: The Authentication Data to send; ``None``: none.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self._connection.challenge(data, asyncio.get_running_loop().time())
        self._flush()
        return await self._answer

    def answered(self, data: bytes | None) -> None:
        """Accept the client's answer; drop it if the hook doesn't wait for one."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(data)


class Hooks:
    """All hooks of the program."""

    def __init__(
        self,
        credentials: Mapping[str, str] | None,
        authenticate: Authenticate | None,
        authorize: Authorize | None,
        enhanced: EnhancedAuthentication | None,
        logger: SafeLogger,
    ) -> None:
        """Set the hooks; None: everything is allowed."""
        self._credentials = credentials
        self._authenticate = authenticate
        self._authorize = authorize
        self._enhanced = enhanced
        self._logger = logger

    @property
    def decide_who_connects(self) -> bool:
        """Whether a hook or credentials decide who may connect."""
        return self._credentials is not None or self._authenticate is not None

    @property
    def decide_about_topics(self) -> bool:
        """Whether a hook decides who may publish and subscribe."""
        return self._authorize is not None

    async def decide(
        self, client: ClientInfo, request: PermissionRequest
    ) -> list[Refusal | None]:
        """Answer a request of a connection."""
        if isinstance(request, ConnectPermission):
            return [await self._may_connect(client)]
        action: Action = "publish"
        if isinstance(request, SubscribePermission):
            action = "subscribe"
        verdicts: list[Refusal | None] = []
        for topic in request.topics:
            if len(verdicts) % REQUESTS_PER_TURN == REQUESTS_PER_TURN - 1:
                # A hook that never waits must not stop the others.
                await asyncio.sleep(0)
            verdicts.append(await self._may(client, action, topic))
        return verdicts

    async def _may_connect(self, client: ClientInfo) -> Refusal | None:
        if self._credentials is not None:
            if client.username is None:
                return Refusal(NOT_AUTHORIZED, "a user name is needed")
            expected = self._credentials.get(client.username)
            given = client.password or b""
            # Take the same time for a wrong name as for a wrong password.
            is_right = hmac.compare_digest((expected or "").encode(), given)
            if expected is None or not is_right:
                return Refusal(BAD_USER_NAME_OR_PASSWORD)
        if self._authenticate is None:
            return None
        refusal, _ = await self._call(
            "authenticate", BAD_USER_NAME_OR_PASSWORD, self._authenticate, client
        )
        return refusal

    async def _may(
        self, client: ClientInfo, action: Action, topic: str
    ) -> Refusal | None:
        if self._authorize is None:
            return None
        refusal, _ = await self._call(
            "authorize", NOT_AUTHORIZED, self._authorize, client, action, topic
        )
        return refusal

    async def _call(
        self,
        name: str,
        otherwise: int,
        hook: Callable[..., Awaitable[object]],
        *arguments: object,
    ) -> tuple[Refusal | None, bytes | None]:
        """Call a hook; however it fails, the client is denied.

        Returns:
            The refusal, or None; and the last data of an enhanced authentication.
        """
        try:
            verdict = await hook(*arguments)
            if isinstance(verdict, bytes) and name == ENHANCED:
                return None, encode_binary(verdict, "the Authentication Data")[2:]
            return to_refusal(verdict, otherwise), None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something that the hook awaited was cancelled.
            self._logger.exception(HOOK_FAILED, name)
        except Exception:
            self._logger.exception(HOOK_FAILED, name)
        return Refusal(UNSPECIFIED_ERROR), None

    async def authenticate(
        self, exchange: Exchange
    ) -> tuple[Refusal | None, bytes | None]:
        """Authenticate a client in several steps.

        Returns:
            The refusal, or None; and the last data of the exchange.
        """
        if self._enhanced is None:
            return Refusal(BAD_AUTHENTICATION_METHOD), None
        return await self._call(ENHANCED, NOT_AUTHORIZED, self._enhanced, exchange)
