"""Authentication in several steps, on the client's side (MQTT 5.0 §4.12).

Not compiled, as its coroutines wait (see CONTRIBUTING.md); imported by clients that
have an authenticator.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Protocol, TypeAlias

from aiomqtt.exceptions import MqttError
from aiomqtt.net.cancellation import interrupted_by, tell_cancellations_apart
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.engine_calls import not_connected
from aiomqtt.protocol.wire import encode_binary
from aiomqtt.standard.names import UNSPECIFIED_ERROR

from .calls import Calls
from .waiters import TIMED_OUT, Waiter, copy_error

Steps: TypeAlias = AsyncGenerator[bytes | None, bytes | None]


class Authenticator(Protocol):
    """Authenticates a client by AUTH packets (MQTT 5.0 §4.12).

    `ScramSha256` is one. A method of one step only has to yield its data::

        class TokenAuthenticator:
            method = "my-token"

            async def authenticate(self):
                yield await fetch_token()

    Several clients may share one: what belongs to one authentication belongs in the
    variables of `authenticate`.

    Attributes:
        method: The Authentication Method, as the broker knows it.
    """

    @property
    def method(self) -> str:
        """The Authentication Method, as the broker knows it."""
        ...

    def authenticate(self) -> AsyncGenerator[bytes | None, bytes | None]:
        """Authenticate the client once: an asynchronous generator.

        It is called for each CONNECT and for each `Client.reauthenticate`. Its first
        ``yield`` gives the Authentication Data of the first packet, and returns the
        data of the broker's next one; each further ``yield`` gives the data of the
        next AUTH. ``None`` stands for no data in both directions. When the broker
        accepts the client, the last ``yield`` returns the broker's final data, and the
        generator has to end; only then the client counts as connected.

        To refuse the broker, for example because its final data are wrong, raise an
        exception: the connection ends, and the exception becomes the cause of the
        `MqttError`. The text of an `MqttError` is taken over.
        """
        ...


async def authenticate(
    calls: Calls,
    engine: Engine,
    authenticator: Authenticator,
    begin: Callable[[bytes | None], Awaitable[None]],
    over: Waiter,
) -> MqttError | None:
    """Authenticate the client, from the first packet until both sides have accepted.

    Args:
        calls: The calls of the client.
        engine: The engine.
        authenticator: The authenticator of the program.
        begin: Sends the first packet with the data of the authenticator, and calls
            `Calls.expect_challenge` before an answer can come.
        over: Resolves when the connection is over: then the authenticator is cancelled.

    Returns:
        The reason why the connection is over, or None.

    Raises:
        MqttError: The authenticator failed before the first packet was sent.
        TypeError: Its `authenticate` is something else than an asynchronous generator.
    """
    steps = authenticator.authenticate()
    if not hasattr(steps, "asend"):
        msg = "authenticate of the authenticator must return an asynchronous generator"
        raise TypeError(msg)
    try:
        try:
            data, is_done = await _next_step(steps, None, over)
        except Exception as error:
            if over.done():
                return calls.error or MqttError("Disconnected")
            calls.has_program_failed = True
            raise MqttError(_describe(error)) from error
        if is_done:
            calls.has_program_failed = True
            msg = "The authenticator ended without a first step"
            raise MqttError(msg)
        await begin(data)
        return await _exchange(calls, engine, steps, over)
    finally:
        # What it raises when it is closed is less important than why.
        with contextlib.suppress(Exception):
            await steps.aclose()


async def _exchange(
    calls: Calls, engine: Engine, steps: Steps, over: Waiter
) -> MqttError | None:
    """Answer the broker's challenges until both sides have accepted."""
    driver = calls.driver
    while (challenge := await calls.challenge) is not None:
        cause: Exception | None = None
        try:
            data, is_done = await _next_step(steps, challenge.data, over)
            if driver.is_over:
                break
            if is_done is not challenge.is_last:
                text = "the broker accepted the client before its last step"
                if is_done:
                    text = "the broker requires a further step of the authenticator"
            elif is_done:
                calls.accept_broker()
                return None
            else:
                assert engine.authentication is not None
                engine.authentication.answer(data)
                calls.expect_challenge()
                driver.flush()
                continue
        except Exception as error:  # noqa: BLE001 - the cause of the MqttError
            if driver.is_over:
                break
            cause, text = error, _describe(error)
        calls.has_program_failed = True
        calls.fail(UNSPECIFIED_ERROR, text, cause)
        break
    return calls.error or MqttError("Disconnected")


async def _next_step(
    steps: Steps, data: bytes | None, over: Waiter
) -> tuple[bytes | None, bool]:
    """Return the next data of the authenticator, and whether it has ended.

    Raises:
        Exception: The authenticator failed, or its data are not what a packet carries.
        InterruptedError: The connection is over.
    """
    answer: bytes | None = None
    is_done = False
    with interrupted_by(over), tell_cancellations_apart():
        try:
            answer = await steps.asend(data)
        except StopAsyncIteration:
            is_done = True
    if not isinstance(answer, bytes | None):
        msg = f"the data must be bytes or None, not {type(answer).__name__}"
        raise TypeError(msg)
    if answer is not None:
        encode_binary(answer, "the Authentication Data")
    return answer, is_done


def _describe(error: Exception) -> str:
    """Describe a failure; the text of other errors than ours may hold secrets."""
    if isinstance(error, MqttError):
        return str(error)
    return f"the authenticator failed: {type(error).__name__}"


async def reauthenticate(
    calls: Calls | None,
    engine: Engine,
    authenticator: Authenticator,
    timeout: float,
) -> None:
    """Authenticate a connected client again (§4.12.1).

    Args:
        calls: The calls of the client, if it is entered.
        engine: The engine.
        authenticator: The authenticator of the program.
        timeout: The time that all of it may take, in seconds.

    Raises:
        MqttCodeError: There is no connection.
        MqttError: The authentication failed, or timed out; if it had begun, the
            connection is over.
    """
    if calls is not None:
        calls.check_loop()
    if calls is None or not calls.is_connected:
        raise not_connected() from (None if calls is None else calls.error)
    driver = calls.driver
    has_begun = False

    async def begin(data: bytes | None) -> None:
        nonlocal has_begun
        if (
            driver is not calls.driver
            or not calls.is_connected
            or engine.authentication is None
        ):
            raise not_connected() from calls.error
        engine.authentication.begin_again(data)
        has_begun = True
        calls.expect_challenge()
        driver.flush()

    # While it waits, the packets of the broker are read even if messages pile up.
    waiter = calls.waiter(math.inf)
    try:
        async with asyncio.timeout(None if timeout == math.inf else timeout):
            error = await authenticate(calls, engine, authenticator, begin, waiter)
    except BaseException as raised:
        if has_begun and not driver.is_over:
            # Neither side can go back to the previous authentication.
            calls.fail(UNSPECIFIED_ERROR, "the authentication was given up", None)
        if isinstance(raised, TimeoutError):
            why = f"the authentication was not complete within {timeout} seconds"
            raise MqttError(TIMED_OUT) from TimeoutError(why)
        raise
    finally:
        calls.forget(waiter)
    if error is not None:
        raise copy_error(error) from error.__cause__
