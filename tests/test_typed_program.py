"""The types of the public API agree with its behaviour, on both builds."""

from aiomqtt import ProtocolVersion
from tests import typed_program


async def test_it_runs(version):
    # 36 and those of publish_many, each once.
    assert await typed_program.run(ProtocolVersion(version)) == 44


async def test_a_script_of_topics():
    await typed_program.scripted()
    await typed_program.authenticated()
    await typed_program.streams()
    await typed_program.reconnecting()


def test_properties_by_the_names_of_paho():
    found = typed_program.properties_by_paho_s_names()
    assert found.response_topic == "lamp/answer"
    assert found.message_expiry_interval == 5
    assert found.user_property == [("a", "1"), ("b", "2")]


def test_codes_of_errors():
    assert typed_program.codes() == [4, 135, 135]


def test_a_subclass_by_its_url(monkeypatch):
    typed_program.by_url()
    monkeypatch.setenv("MQTT_URL", "mqtt://localhost")
    assert type(typed_program.by_environment()) is typed_program.Lamp
