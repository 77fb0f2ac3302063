"""paho-mqtt, told by stdin what to do; see `drivers.py`."""

import json
import sys
import threading
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

VERSIONS = {3: paho.MQTTv31, 4: paho.MQTTv311, 5: paho.MQTTv5}
printing = threading.Lock()


def tell(**values: Any) -> None:
    """Say something; the callbacks are on a thread of their own."""
    with printing:
        print(json.dumps(values), flush=True)


class Client:
    """One connection at a time."""

    def __init__(self) -> None:
        self.version = 4
        self.client: paho.Client | None = None
        # The commands that wait, by packet identifier; None: the CONNACK.
        self.waiting: dict[int | None, int] = {}
        # Answers that came before it was known to which command.
        self.early: dict[int | None, dict[str, Any]] = {}
        # Never held while paho is called: its callbacks come with locks of its own.
        self.lock = threading.Lock()

    def connect(self, number: int, command: dict[str, Any]) -> None:
        self.version = command["version"]
        options: dict[str, Any] = {}
        if self.version < 5:
            options["clean_session"] = not command["session"]
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=command["client_id"],
            protocol=VERSIONS[self.version],
            **options,
        )
        if (will := command["will"]) is not None:
            client.will_set(**will)
        client.on_connect = self.on_connect
        client.on_message = self.on_message
        client.on_subscribe = self.on_subscribe
        client.on_unsubscribe = self.on_unsubscribe
        client.on_publish = self.on_publish
        self.client = client
        self.waiting[None] = number
        if self.version == 5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            if command["session"]:
                properties.SessionExpiryInterval = 600
            client.connect(
                command["host"],
                command["port"],
                clean_start=not command["session"],
                properties=properties,
            )
        else:
            client.connect(command["host"], command["port"])
        client.loop_start()

    def subscribe(self, number: int, command: dict[str, Any]) -> None:
        assert self.client is not None
        _, mid = self.client.subscribe(command["filter"], command["qos"])
        self.wait(mid, number)

    def unsubscribe(self, number: int, command: dict[str, Any]) -> None:
        assert self.client is not None
        _, mid = self.client.unsubscribe(command["filter"])
        self.wait(mid, number)

    def publish(self, number: int, command: dict[str, Any]) -> None:
        assert self.client is not None
        properties = None
        if self.version == 5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            if command.get("content_type") is not None:
                properties.ContentType = command["content_type"]
            if command.get("user_property"):
                properties.UserProperty = [
                    tuple(pair) for pair in command["user_property"]
                ]
        info = self.client.publish(
            command["topic"],
            command["payload"],
            command["qos"],
            command.get("retain", False),
            properties,
        )
        self.wait(info.mid, number)

    def disconnect(self, number: int, command: dict[str, Any]) -> None:
        assert self.client is not None
        self.client.disconnect()
        self.client.loop_stop()
        tell(number=number)

    def wait(self, mid: int | None, number: int) -> None:
        """Note which command an identifier belongs to; it may be answered already."""
        with self.lock:
            values = self.early.pop(mid, None)
            if values is None:
                self.waiting[mid] = number
        if values is not None:
            tell(number=number, **values)

    def answer(self, mid: int | None, **values: Any) -> None:
        with self.lock:
            number = self.waiting.pop(mid, None)
            if number is None:
                self.early[mid] = values
        if number is not None:
            tell(number=number, **values)

    def on_connect(
        self, client: Any, userdata: Any, flags: Any, code: Any, properties: Any
    ) -> None:
        if code.is_failure:
            self.answer(None, error=str(code))
        else:
            self.answer(None, session_present=flags.session_present)

    def on_subscribe(
        self, client: Any, userdata: Any, mid: int, codes: Any, properties: Any
    ) -> None:
        self.answer(mid, granted=codes[0].value)

    def on_unsubscribe(
        self, client: Any, userdata: Any, mid: int, codes: Any, properties: Any
    ) -> None:
        self.answer(mid)

    def on_publish(
        self, client: Any, userdata: Any, mid: int, code: Any, properties: Any
    ) -> None:
        if code.is_failure:
            self.answer(mid, error=str(code))
        else:
            self.answer(mid)

    def on_message(self, client: Any, userdata: Any, message: Any) -> None:
        properties = message.properties
        tell(
            message={
                "topic": message.topic,
                "payload": message.payload.decode(),
                "qos": message.qos,
                "retain": message.retain,
                "content_type": getattr(properties, "ContentType", None),
                "user_property": getattr(properties, "UserProperty", []),
            }
        )


def main() -> None:
    client = Client()
    for line in sys.stdin:
        command = json.loads(line)
        getattr(client, command["do"])(command["number"], command)


main()
