"""Checks of arguments; ValueError and TypeError name the argument and the rule."""

import math


def check_type(name: str, value: object, *types: type) -> None:
    """Raise TypeError unless a value has one of the types."""
    if not isinstance(value, types):
        expected = " or ".join(
            "None" if kind is type(None) else kind.__name__ for kind in types
        )
        msg = f"{name} must be {expected}, not {type(value).__name__}"
        raise TypeError(msg)


def check_range(name: str, value: int, lowest: int) -> int:
    """Return an int; raise ValueError unless it is from `lowest` to 65535."""
    check_type(name, value, int)
    if not lowest <= value <= 65535:
        msg = f"{name} must be {lowest} to 65535, not {value}"
        raise ValueError(msg)
    return value


def check_number(name: str, value: object) -> float:
    """Return a number, which may be infinite; raise an error for anything else."""
    number = _to_number(name, value)
    if math.isnan(number):
        msg = f"{name} must be a number, not nan"
        raise ValueError(msg)
    return number


def check_finite(
    name: str, value: object, lowest: float = 0.0, *, is_above: bool = False
) -> float:
    """Return a finite number from `lowest` on; with `is_above`, not `lowest` itself."""
    number = _to_number(name, value)
    if not lowest <= number < math.inf or (is_above and number == lowest):
        allowed = f" above {lowest:g}" if is_above else f", {lowest:g} or more"
        msg = f"{name} must be a finite number{allowed}, not {number!r}"
        raise ValueError(msg)
    return number


def _to_number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{name} must be a number, not {type(value).__name__}"
        raise TypeError(msg)
    return value
