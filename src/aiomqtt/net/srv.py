"""DNS SRV: the brokers of a domain, in the order of RFC 2782."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, NamedTuple, TypeAlias

from aiomqtt.exceptions import MqttError

from .target import ServiceTarget, TcpTarget

NEEDS_PACKAGE: Final = 'DNS SRV needs a package: pip install "aiomqtt[srv]"'


class Record(NamedTuple):
    """An SRV record.

    Attributes:
        priority: The records with the lowest are tried first.
        weight: The share of the clients that begin with it, within its priority.
        port: The port.
        hostname: The host, without the trailing dot; "": the service is not offered.
    """

    priority: int
    weight: int
    port: int
    hostname: str


# Returns a random number from its first to its second argument, both included.
Randint: TypeAlias = Callable[[int, int], int]


def order(records: Iterable[Record], randint: Randint) -> list[Record]:
    """Return records in the order in which to try them (RFC 2782, "Usage rules").

    Args:
        records: The records of an answer.
        randint: The source of randomness, such as `random.randint`.
    """
    ordered: list[Record] = []
    # Those without a weight come first, so that a draw of 0 can choose them.
    remaining = sorted(records, key=lambda record: (record.priority, record.weight))
    while remaining:
        priority = remaining[0].priority
        group = [record for record in remaining if record.priority == priority]
        drawn = randint(0, sum(record.weight for record in group))
        for record in group:
            drawn -= record.weight
            if drawn <= 0:
                break
        remaining.remove(record)
        ordered.append(record)
    return ordered


async def find_brokers(target: ServiceTarget, timeout: float) -> list[TcpTarget]:
    """Return the brokers of a domain, in the order in which to try them.

    A cancellation leaves nothing behind.

    Args:
        target: The domain.
        timeout: How many seconds the name servers may take.

    Raises:
        TimeoutError: No name server answered in time.
        MqttError: The domain has no brokers, the name servers did not say, or the
            package is missing.
    """
    loop = asyncio.get_running_loop()
    try:
        # It reads files: the package, and the configuration of the system.
        look_up = await loop.run_in_executor(None, _make_lookup)
        records = [Record(*item) for item in await look_up(target.service, timeout)]
    except ImportError as error:
        raise MqttError(f"Could not connect to {target}: {NEEDS_PACKAGE}") from error
    except LookupError as error:
        msg = f"Could not connect to {target}: {error.args[0]}"
        raise MqttError(msg) from error.__cause__
    # Most programs never need it.
    from random import randint

    found = [
        target.at(record.hostname, record.port)
        for record in order(records, randint)
        if record.hostname and record.port
    ]
    if not found:
        reason = "the domain says that it does not offer this service"
        raise MqttError(f"Could not connect to {target}: {reason}")
    return found


def _make_lookup() -> Callable[[str, float], Coroutine[Any, Any, list[Any]]]:
    from .srv_lookup import make_lookup

    return make_lookup()
