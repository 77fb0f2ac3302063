"""Checks for implementations of a store."""

import asyncio
from collections.abc import Callable

from .checks import naming
from .store_rules import RULES, Make


async def check_store(make_place: Callable[[], Make], *, timeout: float = 60.0) -> None:
    """Check that a store of sessions keeps the rules of `SessionStore`.

    It uses a new place for each rule, and closes all sessions that it opens. It needs
    an event loop of asyncio, and no test framework.

    Args:
        make_place: Returns a function for a new place in which there is no session,
            such as a file or a prefix of keys. That function returns a store for this
            place, each time a new one where the place outlives the store; it is not
            open.
        timeout: How many seconds each rule may take.

    Raises:
        AssertionError: The store breaks a rule; the message begins with the rule.
    """
    for rule, check in RULES.items():
        with naming(rule):
            async with asyncio.timeout(timeout):
                await check(make_place())
