"""The note on a cancellation of what had not happened by then."""

import asyncio

import pytest

from aiomqtt.net.interruption import explain_interruption, waiting


async def timed_out(*waits):
    """Have a timeout interrupt the last of these waits, inside the others."""
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0):
            await inside(waits)
    return explain_interruption(caught.value.__cause__, "HOST did not answer", 2.0)


async def inside(waits):
    if not waits:
        return await asyncio.Event().wait()
    with waiting(*waits[0]):
        return await inside(waits[1:])


async def test_the_innermost_wait_is_named():
    assert await timed_out() == "HOST did not answer within 2 seconds"
    assert await timed_out(("a is missing",)) == "a is missing within 2 seconds"
    said = await timed_out(("a is missing",), ("b is missing", "is b there?"))
    assert said == "b is missing within 2 seconds: is b there?"


def test_other_errors_pass_as_they_are():
    with pytest.raises(OSError, match="^gone$") as caught, waiting("a is missing"):
        raise OSError("gone")
    assert not hasattr(caught.value, "__notes__")


def test_no_cancellation():
    assert explain_interruption(None, "a is missing", 0.25) == (
        "a is missing within 0.25 seconds"
    )
