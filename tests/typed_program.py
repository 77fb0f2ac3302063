# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""A program that uses all forms of the public API that have a type.

mypy and pyright accept it (scripts/check), and test_typed_program.py runs it. What they
have to refuse is in `mistakes`, which never runs.
"""

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal, assert_type

from pydantic import BaseModel, TypeAdapter

import aiomqtt.client as mqtt
from aiomqtt import (
    Authenticator,
    Broker,
    Capabilities,
    Client,
    ClientStatistics,
    ConnectionState,
    Message,
    MessagesIterator,
    MqttCodeError,
    MqttConnectError,
    ParsedMessage,
    PendingMessage,
    Properties,
    ProtocolVersion,
    ProxySettings,
    Publication,
    ReasonCode,
    Receipt,
    Reconnect,
    Redirect,
    RequestServer,
    ScramSha256,
    StateChange,
    Stream,
    SubscribeOptions,
    TLSParameters,
    Topic,
    TopicLike,
    Wildcard,
    WildcardLike,
    Will,
)
from aiomqtt.broker import (
    Authentication,
    ClientInfo,
    Limits,
    Refusal,
    ScramCredentials,
    ScramSha256Accounts,
)
from aiomqtt.exceptions import MqttError, MqttReentrantError
from aiomqtt.testing import CONNACK, CONNECT, PUBACK, PUBLISH, SUBSCRIBE, Script
from aiomqtt.types import (
    CredentialsSource,
    PayloadType,
    PropertiesLike,
    PublicationLike,
    RequestHandler,
    SocketOption,
    SubscribeOptionsLike,
    SubscribeTopic,
    TLSContextLike,
    UnsubscribeTopic,
    WebSocketHeaders,
    WillSource,
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


async def make_context() -> ssl.SSLContext:
    return ssl.create_default_context()


contexts: list[TLSContextLike] = [
    ssl.create_default_context(),
    ssl.create_default_context,
    make_context,
    lambda: ssl.create_default_context(cafile=None),
]
protocols: Sequence[str] = ("x-amzn-mqtt-ca",)
assert_type(
    TLSParameters(alpn_protocols=protocols).alpn_protocols, Sequence[str] | None
)
assert_type(ProxySettings.from_environment("wss"), ProxySettings | None)
logger = logging.getLogger("tests.typed_program")


async def authorize(client: ClientInfo, action: str, topic: str) -> bool:
    return True


async def authenticate(client: ClientInfo) -> bool | Refusal:
    return True


async def converse(authentication: Authentication) -> bytes:
    return await authentication.challenge() or b""


async def get_credentials() -> tuple[str, str]:
    return "user", "password"


async def make_will() -> Will:
    return Will(NAME, "off", 1)


credentials: list[CredentialsSource] = [
    get_credentials,
    lambda: ("user", b"password"),
    lambda: ("user", None),
]
wills: list[WillSource] = [
    Will(NAME),
    make_will,
    lambda: Will(NAME),
    lambda: None,
]


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
            will=make_will,
            credentials=get_credentials,
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
            assert receipt.outcome == "delivered"
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
    assert_type(client.statistics, ClientStatistics)
    assert_type(client.statistics.seconds_connected, float | None)
    assert_type(client.capabilities, Capabilities | None)
    if is_v5:
        await ask(client)

    messages = client.messages
    assert_type(messages, MessagesIterator)
    received = 0
    async for message in messages:
        look_at(message, is_v5)
        received += 1
        if received == sent:
            break
    return received


def double(message: Message) -> int:
    return 2 * int(message.payload)


async def greet(message: Message) -> str | None:
    return f"Hello {message.payload.decode()}" if message.payload else None


handlers: list[RequestHandler] = [double, greet, lambda message: None]


async def ask(client: Client) -> None:
    """Send requests, and answer them."""
    async with (
        client.serve("ask/double", double) as server,
        client.serve([("ask/greet", 1), "ask/hello"], greet, concurrency=3),
    ):
        assert_type(server, RequestServer)
        reply = await client.request("ask/double", 21, timeout=5)
        assert_type(reply, Message)
        assert reply.payload == b"42"
        assert (await client.request("ask/greet", "you")).payload == b"Hello you"
        assert_type(server.handled, int)


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


class Lamps(BaseModel):
    """What a payload says."""

    value: int


async def streams() -> None:
    """Open streams for all forms of filters."""
    async with Broker() as broker, Client(broker.name, transport="memory") as client:
        async with client.stream(NAME, FILTER, "lamp/#", (FILTER, 1)) as stream:
            assert_type(stream, Stream[Message])
            await client.publish(NAME, "on", 1)
            async for message in stream:
                assert_type(message, Message)
                break
        async with client.stream(
            ("lamp/#", SubscribeOptions(1)), max_messages=10, max_bytes=1000, timeout=5
        ) as stream:
            assert len(stream) == stream.discarded == 0
        await client.publish("value", '{"value": 1}', 1, True)
        async with (
            client.stream("value", parse=Lamps) as models,
            client.stream("value", parse=json.loads) as objects,
            client.stream("value", parse=str) as texts,
            client.stream("value", parse=TypeAdapter(dict[str, int])) as mappings,
        ):
            assert_type(models, Stream[ParsedMessage[Lamps]])
            async for parsed in models:
                assert_type(parsed, ParsedMessage[Lamps])
                assert_type(parsed.value, Lamps)
                assert parsed.value.value == 1
                break
            assert_type((await anext(objects)).value, Any)
            assert_type((await anext(texts)).value, str)
            assert_type((await anext(mappings)).value, dict[str, int])


def several_brokers() -> None:
    names = ["a", "b"]
    pairs = [("a", 1883), ("b", 1884)]
    Client(names)
    Client(pairs, address_order="random", attempt_timeout=5)
    Client(["a", ("b", 1884)], address_order="round_robin", attempt_timeout=None)
    Client(("a", "b"), 1884, address_order="listed")


def brokers_of_a_domain() -> None:
    Client("home.example", srv=True)
    Client(["home.example", "office.example"], srv=True, address_order="random")


def redirections() -> None:
    def choose(redirect: Redirect) -> list[tuple[str, int]]:
        assert_type(redirect.source, str)
        assert_type(redirect.addresses, tuple[tuple[str, int], ...])
        return [] if redirect.is_permanent else list(redirect.addresses)

    Client("a", redirect="follow")
    Client("a", redirect=choose)
    Client("a", redirect=lambda redirect: redirect.addresses)
    assert_type(MqttError().server_reference, str | None)


async def reconnecting() -> None:
    def decide(cause: MqttError) -> Literal["slow"] | None:
        return "slow" if isinstance(cause, MqttConnectError) else None

    async def announce() -> Will:
        return Will("state", "online", 1, retain=True)

    rules = Reconnect(min_delay=0.5, attempts=3, initial=True, decide=decide)
    Client("a", reconnect=True, birth=Will("state", "online"))
    async with (
        Broker(None) as broker,
        Client(
            broker.name, transport="memory", reconnect=rules, birth=announce
        ) as client,
    ):
        await client.connected()
        assert_type(client.state, ConnectionState)
        async for change in client.states():
            assert_type(change, StateChange)
            assert_type(change.cause, MqttError | None)
            assert_type(change.delay, float | None)
            if change.state is ConnectionState.CONNECTED:
                break
        client.retry_now()


class Lamp(Client):
    """A client with a method of its own."""


def by_url() -> None:
    lamp = Lamp.from_url("mqtts://user:password@localhost:8883", identifier="lamp")
    assert_type(lamp, Lamp)


def by_environment() -> Lamp:
    return Lamp.from_env(keepalive=5)


class TokenAuthenticator:
    """Authenticates a client in one step."""

    method = "token"

    async def authenticate(self) -> AsyncGenerator[bytes, bytes | None]:
        assert_type((yield b"let me in"), bytes | None)


async def authenticated() -> None:
    async def accept(exchange: Authentication) -> bool:
        return exchange.data == b"let me in"

    accounts = ScramSha256Accounts({"ann": ScramCredentials.from_password("secret")})
    scram: Authenticator = ScramSha256("ann", "secret", maximum_iterations=20_000)
    async with (
        Broker(None, enhanced_authentication=accounts) as broker,
        Client(
            broker.name,
            transport="memory",
            protocol=ProtocolVersion.V5,
            authenticator=scram,
        ),
    ):
        assert_type(ScramSha256.method, str)
    authenticator: Authenticator = TokenAuthenticator()
    async with (
        Broker(None, enhanced_authentication=accept) as broker,
        Client(
            broker.name,
            transport="memory",
            protocol=ProtocolVersion.V5,
            authenticator=authenticator,
        ) as client,
    ):
        await client.reauthenticate(timeout=5)


async def mistakes(client: Client) -> None:
    Client([1883])  # type: ignore[list-item]
    Reconnect(takeover="stop")  # type: ignore[arg-type]
    Client("a", reconnect="yes")  # type: ignore[arg-type]
    Client("a", redirect="yes")  # type: ignore[arg-type]
    Client("a", ack="late")  # type: ignore[arg-type]
    Client("a", redirect=lambda redirect: ["b"])  # type: ignore[list-item]
    Client(["a"], address_order="first")  # type: ignore[arg-type]
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
