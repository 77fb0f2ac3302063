"""The arguments of `Client` that say which brokers to connect to.

ValueError and TypeError name the argument and the rule.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aiomqtt.argument_checks import check_number, check_type
from aiomqtt.net.target import Target

from .addresses import ORDERS, Addresses
from .target_arguments import to_target


def to_addresses(given: Mapping[str, Any]) -> Addresses:
    """Return the addresses for the arguments of a client.

    Raises:
        ValueError: The transport does not take an argument, or a value is wrong.
        TypeError: An argument has a wrong type.
    """
    order, attempt_timeout = given["address_order"], given["attempt_timeout"]
    if order not in ORDERS:
        names = [repr(name) for name in ORDERS]
        msg = (
            f"address_order must be {', '.join(names[:-1])} or {names[-1]}, not"
            f" {order!r}"
        )
        raise ValueError(msg)
    is_given = attempt_timeout is not None
    if is_given and check_number("attempt_timeout", attempt_timeout) <= 0:
        msg = f"attempt_timeout must be more than 0 seconds, not {attempt_timeout}"
        raise ValueError(msg)
    redirect = given["redirect"]
    if redirect not in ("raise", "follow") and not callable(redirect):
        msg = f"redirect must be 'raise', 'follow' or a callable, not {redirect!r}"
        raise ValueError(msg)
    if callable(redirect):
        # Most programs never need it.
        from inspect import iscoroutinefunction

        if iscoroutinefunction(redirect):
            msg = "redirect must return addresses, and not be a coroutine function"
            raise TypeError(msg)
    return Addresses(list(_to_targets(given)), order, attempt_timeout, redirect)


def _to_targets(given: Mapping[str, Any]) -> Iterator[Target]:
    """Yield the target of each broker."""
    hostname = given["hostname"]
    if isinstance(hostname, str):
        yield to_target(given)
        return
    if isinstance(hostname, bytes) or not isinstance(hostname, Sequence):
        check_type("hostname", hostname, str, Sequence)
        check_type("hostname", hostname, str)
    if not hostname:
        msg = "hostname must name at least one broker: the list is empty"
        raise ValueError(msg)
    # An iterator, such as of `socket_options`, would be empty for the second target.
    given = {
        name: tuple(value) if isinstance(value, Iterator) else value
        for name, value in given.items()
    }
    for item in hostname:
        if isinstance(item, str):
            yield to_target({**given, "hostname": item})
        elif isinstance(item, tuple) and len(item) == 2:
            target = to_target({**given, "hostname": item[0], "port": item[1]})
            if "port" not in target.arguments:
                msg = f"hostname has a port, and transport {target.transport!r} none"
                raise ValueError(msg)
            yield target
        else:
            msg = (
                "hostname must be a host name, or a list of host names and of tuples"
                f' such as ("localhost", 1883), not of {_describe(item)}'
            )
            raise TypeError(msg)


def _describe(item: object) -> str:
    if isinstance(item, tuple):
        return f"tuples of {len(item)} items"
    return type(item).__name__
