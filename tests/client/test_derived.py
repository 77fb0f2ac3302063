"""Attributes whose names a subclass may use."""

import pytest

from aiomqtt import Client
from aiomqtt.client.derived import derived


class Parent:
    @derived
    def answer(self) -> int:
        """Say it."""
        return 42


class Child(Parent):
    def __init__(self) -> None:
        self.answer = 7


def test_it_is_derived_from_the_object():
    assert Parent().answer == 42


def test_an_attribute_of_the_program_takes_precedence():
    assert Child().answer == 7


def test_the_class_has_its_documentation():
    assert Parent.answer.__doc__ == "Say it."


@pytest.mark.parametrize("name", ["statistics", "capabilities"])
def test_a_subclass_of_the_client_may_have_one_of_its_own(name):
    class Mine(Client):
        def __init__(self) -> None:
            setattr(self, name, "mine")
            super().__init__("localhost")

    assert getattr(Mine(), name) == "mine"
    assert getattr(Client("localhost"), name) != "mine"
