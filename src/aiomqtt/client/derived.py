"""A read-only attribute whose name a subclass may use for one of its own."""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class derived(Generic[T]):  # noqa: N801
    """As `property`, but an attribute that the program sets takes precedence.

    Programs written for aiomqtt 2.5 derive classes from `Client` and set attributes of
    their own; a `property` would refuse those whose names it has taken since.
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        """Derive the value by a function of the object."""
        self._function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...

    @overload
    def __get__(self, owner: object, kind: type) -> T: ...

    def __get__(self, owner: object | None, kind: type) -> Self | T:
        """Return the value of an object."""
        return self if owner is None else self._function(owner)
