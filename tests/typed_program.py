# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""A program that uses all forms of the public API that have a type.

mypy and pyright accept it (scripts/check), and test_typed_program.py runs it. What they
have to refuse is in `mistakes`, which never runs.
"""

import asyncio
import logging
from typing import Any, assert_type

import aiomqtt.client as mqtt
from aiomqtt import (
    Broker,
    Client,
    Message,
    MessagesIterator,
    MqttCodeError,
    MqttConnectError,
    PendingMessage,
    Properties,
    ProtocolVersion,
    Publication,
    ReasonCode,
    Receipt,
    SubscribeOptions,
    Topic,
    TopicLike,
    Wildcard,
    WildcardLike,
    Will,
)
from aiomqtt.broker import Authentication, ClientInfo, Limits, Refusal
from aiomqtt.exceptions import MqttError, MqttReentrantError
from aiomqtt.testing import CONNACK, CONNECT, PUBACK, PUBLISH, SUBSCRIBE, Script
from aiomqtt.types import (
    PayloadType,
    PropertiesLike,
    PublicationLike,
    SocketOption,
    SubscribeOptionsLike,
    SubscribeTopic,
    UnsubscribeTopic,
    WebSocketHeaders,
)

NAME = Topic("lamp/state")
FILTER = Wildcard("lamp/+")

topics: list[TopicLike] = ["lamp/state", NAME]
filters: list[WildcardLike] = ["lamp/+", FILTER, NAME]
payloads: list[PayloadType] = ["on", b"on", bytearray(b"on"), 1, 1.5, None]
# Lists of one kind, as programs keep them.
strings = ["lamp/+", "lamp/#"]
names = [NAME]
with_qos = [("lamp/+", 1), ("lamp/#", 2)]
with_options = [("lamp/+", SubscribeOptions(1))]
subscriptions: list[SubscribeTopic] = [
    "lamp/+",
    NAME,
    FILTER,
    ("lamp/+", 1),
    (FILTER, 1),
    strings,
    names,
    [FILTER],
    filters,
    with_qos,
    [(FILTER, 1), (NAME, 2)],
    [("lamp/+", 1), FILTER, "lamp/#", NAME],
]
subscriptions_of_5: list[SubscribeTopic] = [
    (FILTER, SubscribeOptions(1)),
    with_options,
    [(FILTER, SubscribeOptions(1)), (NAME, 1)],
]
unsubscriptions: list[UnsubscribeTopic] = [
    "lamp/+",
    NAME,
    FILTER,
    strings,
    names,
    filters,
    ("lamp/#", FILTER),
]
socket_options: list[SocketOption] = []
headers: WebSocketHeaders = {}
logger = logging.getLogger("tests.typed_program")


async def authorize(client: ClientInfo, action: str, topic: str) -> bool:
    return True


async def authenticate(client: ClientInfo) -> bool | Refusal:
    return True


async def converse(authentication: Authentication) -> bytes:
    return await authentication.challenge() or b""


async def run(version: ProtocolVersion) -> int:
    """Talk to a broker; return how many messages have come back."""
    broker = Broker(
        None,
        authenticate=authenticate,
        authorize=authorize,
        enhanced_authentication=converse,
        limits=Limits(),
        logger=logging.LoggerAdapter(logger, {}),
    )
    async with broker:
        client = mqtt.Client(
            broker.name,
            protocol=version,
            transport="memory",
            will=Will(NAME, "off", 1),
            queue_type=asyncio.LifoQueue,
            socket_options=socket_options,
            logger=logging.LoggerAdapter(logging.LoggerAdapter(logger, {}), {}),
        )
        async with client as entered:
            assert_type(entered, Client)
            return await talk(client, broker, version)


async def talk(client: Client, broker: Broker, version: ProtocolVersion) -> int:
    is_v5 = version is ProtocolVersion.V5
    for subscription in subscriptions:
        granted = await client.subscribe(subscription, timeout=5)
        assert_type(granted, tuple[int, ...] | list[ReasonCode])
    if is_v5:
        options: SubscribeOptionsLike = SubscribeOptions(2)
        for subscription in subscriptions_of_5:
            await client.subscribe(subscription, properties=Properties())
        await client.subscribe(filters, 0, options)
    for unsubscription in unsubscriptions:
        codes = await client.unsubscribe(unsubscription)
        assert_type(codes, list[ReasonCode] | None)
    await client.subscribe(FILTER, 1)

    sent = 0
    properties: PropertiesLike | None = Properties(content_type="x") if is_v5 else None
    for topic in topics:
        for payload in payloads:
            await client.publish(topic, payload, 1, False, properties)
            receipt = client.publish_nowait(topic, payload, 1)
            assert_type(receipt, Receipt)
            await receipt
            broker.publish(topic, payload, 1, properties=properties)
            sent += 3
    many: list[PublicationLike] = [
        (NAME,),
        ("lamp/state", "on"),
        (NAME, b"on", 1),
        ("lamp/state", 1, 0, False),
        (NAME, 1.5, 1, False, properties),
        Publication(NAME, qos=1),
    ]
    sent += await client.publish_many(many)
    sent += await client.publish_many((topic, "on", 1) for topic in topics)
    assert_type(client.pending_messages(), tuple[PendingMessage, ...])

    messages = client.messages
    assert_type(messages, MessagesIterator)
    received = 0
    async for message in messages:
        look_at(message, is_v5)
        received += 1
        if received == sent:
            break
    return received


def look_at(message: Message, is_v5: bool) -> None:
    assert_type(message.topic, Topic)
    assert message.topic.matches(FILTER)
    assert message.topic.matches("lamp/+")
    assert message.topic.matches(NAME)
    assert isinstance(message.payload.decode(), str)
    assert_type(message.qos, int)
    assert_type(message.retain, bool)
    assert_type(message.mid, int | Any)
    assert message.mid + 1 > 0
    assert_type(message.properties, Properties | None)
    for topic in topics:
        again = Message(topic, "text", 1, True, 1, message.properties)
        assert again.topic == NAME
    if message.properties is not None:
        assert is_v5
        pairs = [key + value for key, value in message.properties.user_property]
        assert pairs == []


def properties_by_paho_s_names() -> Properties:
    properties = Properties(user_property=[("a", "1")], response_topic=NAME)
    properties.response_topic = NAME
    properties.ResponseTopic = Topic("lamp/answer")
    properties.MessageExpiryInterval = 5
    properties.user_property = None
    properties.UserProperty = ("a", "1")
    properties.UserProperty = [("b", "2")]
    return properties


def read(properties: Properties) -> None:
    assert_type(properties.ResponseTopic, str)
    assert_type(properties.response_topic, str | None)
    assert_type(properties.UserProperty, list[tuple[str, str]])
    assert_type(len(properties.user_property), int)
    assert_type(properties.user_property[0], tuple[str, str])
    assert_type(properties.subscription_identifier[0], int)


def codes() -> list[int]:
    found: list[int] = []
    errors = [
        MqttCodeError(4, "a text"),
        MqttCodeError(),
        MqttConnectError(ReasonCode(135)),
        MqttCodeError(rc=135),
    ]
    for error in errors:
        try:
            raise error
        except MqttCodeError as caught:
            assert_type(caught.rc, ReasonCode | None)
            if caught.rc is not None:
                found.append(caught.rc.value)
    assert issubclass(MqttReentrantError, MqttError)
    return found


async def scripted() -> None:
    """Have a conversation whose topics are objects."""
    script = (
        Script()
        .expect(CONNECT)
        .reply(CONNACK)
        .expect(SUBSCRIBE, filters=[FILTER, "lamp/#"])
        .reply(reason_codes=[1, 1])
        .send(PUBLISH, topic=NAME, payload=b"on")
        .expect(PUBLISH, topic=NAME, qos=1)
        .reply(PUBACK)
    )
    async with script, Client(script.name, transport="memory") as client:
        await client.subscribe([FILTER, "lamp/#"], 1)
        assert (await anext(client.messages)).topic == NAME
        await client.publish(NAME, "off", 1)


async def mistakes(client: Client) -> None:
    await client.publish(FILTER)  # type: ignore[arg-type]
    await client.publish(5)  # type: ignore[arg-type]
    await client.publish("a", {})  # type: ignore[arg-type]
    await client.publish("a", properties={})  # type: ignore[arg-type]
    await client.subscribe(("a", "b"))  # type: ignore[arg-type]
    await client.subscribe({"a"})  # type: ignore[arg-type]
    await client.subscribe("a", options=1)  # type: ignore[arg-type]
    await client.unsubscribe(("a", 1))  # type: ignore[arg-type]
    await client.publish_many([("a", {})])  # type: ignore[list-item]
    Will(FILTER)  # type: ignore[arg-type]
    Properties().ResponseTopic = 5  # type: ignore[assignment]
    Properties().response_topic = FILTER  # type: ignore[assignment]
    Properties().content_type = NAME  # type: ignore[assignment]
    print(Properties().no_such_property)  # type: ignore[attr-defined]
    print(mqtt.no_such_name)  # type: ignore[attr-defined]
