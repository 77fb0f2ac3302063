"""The names of response topics (MQTT 5.0 §4.10.1)."""

import re

import pytest

from aiomqtt.client.response_topics import ResponseTopics
from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.packets import Connack
from aiomqtt.protocol.settings import Settings
from aiomqtt.standard.tables import ProtocolVersion


def new_engine(client_id: str, information: str | None = None) -> Engine:
    engine = Engine(Settings(ProtocolVersion.V5, client_id))
    properties = Properties(response_information=information)
    engine.connack = Connack(False, ReasonCode(0), properties)
    return engine


@pytest.mark.parametrize(
    ("client_id", "information", "start"),
    [
        pytest.param("me", None, "responses/me/", id="nothing was said"),
        pytest.param("me", "", "responses/me/", id="nothing, in words"),
        pytest.param("me", "replies/7", "replies/7/", id="part of a topic"),
        pytest.param("me", "replies/7/", "replies/7/", id="it ends in a slash"),
        pytest.param("me", "{'a': '#'}", "responses/me/", id="it is something else"),
        pytest.param("", None, "responses/-/", id="no identifier"),
        pytest.param("a/+# $b", None, "responses/a-----b/", id="odd characters"),
        pytest.param("ü_.-9", None, "responses/ü_.-9/", id="ordinary characters"),
        pytest.param("x" * 999, None, f"responses/{'x' * 64}/", id="a long identifier"),
    ],
)
def test_the_shared_response_topic(client_id, information, start):
    name = ResponseTopics(new_engine(client_id, information)).to_name()
    assert re.fullmatch(re.escape(start) + "[0-9a-f]{16}", name)


def test_it_is_that_of_one_client_and_stays():
    engine = new_engine("me")
    topics = ResponseTopics(engine)
    assert topics.to_name() == topics.to_name()
    assert topics.to_name() != ResponseTopics(engine).to_name()
    engine.connack = None
    assert topics.to_name().startswith("responses/me/")
