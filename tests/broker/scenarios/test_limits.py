"""Features that a broker may lack, and how it announces that (MQTT 5.0 §3.2.2.3)."""

import pytest

from aiomqtt.broker import Limits
from aiomqtt.protocol.packets import WillMessage


@pytest.mark.parametrize("maximum", [0, 1])
async def test_a_maximum_qos(start_broker, join, version, maximum):
    """[MQTT-3.2.2-9], [MQTT-3.2.2-10], §3.2.2.3.4: 0x9B."""
    broker = await start_broker(limits=Limits(maximum_qos=maximum))
    listener = await join(broker, version, "listener")
    if version == 5:
        assert listener.connack.properties.maximum_qos == maximum
    codes = [await listener.subscribe(f"qos/{qos}", qos=qos) for qos in (0, 1, 2)]
    assert codes == [[min(qos, maximum)] for qos in (0, 1, 2)]
    speaker = await join(broker, version, "speaker")
    await speaker.publish("qos/2", b"1", maximum)
    await listener.take("qos/2", b"1", maximum)
    speaker.send(speaker.publish_packet("qos/2", b"1", maximum + 1))
    await speaker.expect_refusal(0x9B)
    await listener.nothing()


@pytest.mark.parametrize("maximum", [0, 1])
async def test_a_will_above_the_maximum_qos(start_broker, call, join, version, maximum):
    # [MQTT-3.2.2-12]
    broker = await start_broker(limits=Limits(maximum_qos=maximum))
    await join(broker, version, "fine", will=WillMessage("will", b"", maximum))
    talker = await call(broker, version)
    will = WillMessage("will", b"", maximum + 1)
    talker.send(talker.connect_packet("refused", will=will))
    if version == 5:
        await talker.expect_connack_refusal(0x9B, 5)
    else:
        await talker.expect_closed()
    assert "refused" not in broker.sessions


async def test_nothing_is_retained(start_broker, call, join, version):
    """§3.2.2.3.5: 0x9A; [MQTT-3.2.2-13] of a will."""
    broker = await start_broker(limits=Limits(retain_available=False))
    listener = await join(broker, version, "listener")
    await listener.subscribe("kept")
    if version == 5:
        assert listener.connack.properties.retain_available == 0
    speaker = await join(broker, version, "speaker")
    speaker.send(speaker.publish_packet("kept", b"1", 1, retain=True))
    await speaker.expect_refusal(0x9A)
    await listener.nothing()
    talker = await call(broker, version)
    will = WillMessage("will", b"", 0, True)
    talker.send(talker.connect_packet("refused", will=will))
    if version == 5:
        await talker.expect_connack_refusal(0x9A, 5)
    else:
        await talker.expect_closed()
    late = await join(broker, version, "late")
    await late.subscribe("kept")
    await late.nothing()


async def test_a_will_that_may_not_be_published(start_broker, call, join, version):
    # 5.0 [MQTT-3.1.4-2]
    async def authorize(client, action, topic):
        return topic != "secret"

    broker = await start_broker(authorize=authorize)
    await join(broker, version, "fine", will=WillMessage("open", b""))
    talker = await call(broker, version)
    talker.send(talker.connect_packet("refused", will=WillMessage("secret", b"")))
    await talker.expect_connack_refusal(0x87, 5)
    assert "refused" not in broker.sessions


async def test_levels_of_a_topic(start_broker, join, version):
    broker = await start_broker(limits=Limits(maximum_topic_levels=3))
    talker = await join(broker, version, "talker")
    codes = await talker.subscribe("a/b/c", "a/b/c/d", "#")
    assert codes == ([0, 0x8F, 0] if version == 5 else [0, 0x80, 0])
    speaker = await join(broker, version, "speaker")
    code = await speaker.publish("a/b/c/d", b"1", 1)
    assert code == (0x90 if version == 5 else 0)
    await speaker.publish("a/b/c", b"2", 1)
    await talker.take("a/b/c", b"2")
    await talker.nothing()


async def test_so_many_messages_wait_for_a_client(start_broker, join, version):
    """The connection of the publisher goes on, and so do other clients."""
    broker = await start_broker(limits=Limits(maximum_queued_messages=2))
    listener = await join(broker, version, "away", session=True)
    await listener.subscribe("queue", qos=1)
    await listener.goodbye()
    speaker = await join(broker, version, "speaker")
    for number in range(4):
        assert await speaker.publish("queue", str(number).encode(), 1) in (0, 0x97)
    listener = await join(broker, version, "away", session=True)
    await listener.take("queue", b"0", 1)
    await listener.take("queue", b"1", 1)
    await listener.nothing()
    # There is room again.
    await speaker.publish("queue", b"4", 1)
    await listener.take("queue", b"4", 1)


async def test_so_many_messages_are_retained(start_broker, join, version):
    broker = await start_broker(limits=Limits(maximum_retained_messages=1))
    speaker = await join(broker, version, "speaker")
    await speaker.subscribe("kept/#")
    assert await speaker.publish("kept/a", b"1", 1, retain=True) == 0
    code = await speaker.publish("kept/b", b"1", 1, retain=True)
    assert code == (0x97 if version == 5 else 0)
    assert await speaker.publish("kept/a", b"2", 1, retain=True) == 0
    late = await join(broker, version, "late")
    await late.subscribe("kept/#")
    await late.take("kept/a", b"2", retain=True)
    await late.nothing()
