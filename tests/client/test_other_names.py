"""Names of other clients: the error says what to use instead."""

import copy

import pytest

import aiomqtt.client.other_names
from aiomqtt import Client

NAMES = sorted(aiomqtt.client.other_names._INSTEAD)


@pytest.mark.parametrize("name", NAMES)
def test_the_error_names_what_to_use(name):
    client = Client("localhost")
    with pytest.raises(AttributeError, match=f"no attribute '{name}': ") as caught:
        getattr(client, name)
    assert aiomqtt.client.other_names._INSTEAD[name] in str(caught.value)
    assert not hasattr(client, name)
    assert getattr(client, name, None) is None


def test_any_other_name_is_missing_as_ever():
    client = Client("localhost")
    with pytest.raises(AttributeError) as caught:
        client.no_such_thing  # type: ignore[attr-defined]  # noqa: B018
    assert str(caught.value) == "'Client' object has no attribute 'no_such_thing'"
    assert caught.value.name == "no_such_thing"


def test_what_a_program_sets_itself_is_found():
    class Own(Client):
        def __init__(self, host):
            self.on_message = self.handle
            super().__init__(host)

        def handle(self):
            return "mine"

    own = Own("localhost")
    assert own.on_message() == "mine"
    assert copy.copy(own).on_message() == "mine"


def test_they_are_not_listed():
    listed = dir(Client("localhost"))
    assert "publish" in listed
    assert not set(listed) & set(NAMES)
    assert not hasattr(Client, "filtered_messages")


def test_no_access_to_an_attribute_is_slowed():
    """CPython 3.11 specializes none where there is a ``__getattr__``."""
    assert not hasattr(Client, "__getattr__")
    assert Client.__getattribute__ is object.__getattribute__


def test_messages_is_no_method():
    client = Client("localhost")
    with pytest.raises(TypeError, match="async for message in client.messages"):
        client.messages()  # type: ignore[operator]
