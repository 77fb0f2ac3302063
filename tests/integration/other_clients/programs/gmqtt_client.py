"""gmqtt, told by stdin what to do; see `drivers.py`."""

import asyncio
import json
import sys
import threading
from typing import Any

import gmqtt  # type: ignore[import-untyped]
from gmqtt.mqtt.constants import MQTTv50, MQTTv311  # type: ignore[import-untyped]
from gmqtt.storage import PersistentStorage  # type: ignore[import-untyped]

VERSIONS = {4: MQTTv311, 5: MQTTv50}


def tell(**values: Any) -> None:
    print(json.dumps(values), flush=True)


class Client:
    """One connection at a time."""

    def __init__(self) -> None:
        self.client: Any = None
        self.version = 4
        self.present = False
        self.answers: dict[int, asyncio.Future[list[int]]] = {}
        # Where it keeps what is not acknowledged yet.
        self.unacknowledged: Any = PersistentStorage()

    async def connect(self, command: dict[str, Any]) -> dict[str, Any]:
        self.version = command["version"]
        options: dict[str, Any] = {}
        if self.version == 5 and command["session"]:
            options["session_expiry_interval"] = 600
        if (will := command["will"]) is not None:
            options["will_message"] = gmqtt.Message(**will)
        client = gmqtt.Client(
            command["client_id"],
            clean_session=not command["session"],
            persistent_storage=self.unacknowledged,
            **options,
        )
        client.on_connect = self.on_connect
        client.on_message = self.on_message
        client.on_subscribe = self.on_suback
        client.on_unsubscribe = self.on_suback
        self.client = client
        version = VERSIONS[self.version]
        await client.connect(command["host"], command["port"], version=version)
        return {"session_present": self.present}

    async def subscribe(self, command: dict[str, Any]) -> dict[str, Any]:
        mid = self.client.subscribe(command["filter"], qos=command["qos"])
        return {"granted": (await self.answer_to(mid))[0]}

    async def unsubscribe(self, command: dict[str, Any]) -> dict[str, Any]:
        await self.answer_to(self.client.unsubscribe(command["filter"]))
        return {}

    async def answer_to(self, mid: int) -> list[int]:
        answer: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self.answers[mid] = answer
        return await answer

    async def publish(self, command: dict[str, Any]) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if command.get("content_type") is not None:
            options["content_type"] = command["content_type"]
        if command.get("user_property"):
            options["user_property"] = [
                tuple(pair) for pair in command["user_property"]
            ]
        self.client.publish(
            command["topic"],
            command["payload"],
            qos=command["qos"],
            retain=command.get("retain", False),
            **options,
        )
        await self.unacknowledged.wait_empty()
        return {}

    async def disconnect(self, command: dict[str, Any]) -> dict[str, Any]:
        await self.client.disconnect()
        return {}

    def on_connect(self, client: Any, flags: int, code: int, properties: Any) -> None:
        self.present = bool(flags & 1)

    def on_suback(
        self, client: Any, mid: int, codes: Any, properties: Any = None
    ) -> None:
        self.answers.pop(mid).set_result(list(codes or []))

    async def on_message(
        self, client: Any, topic: str, payload: bytes, qos: int, properties: Any
    ) -> int:
        tell(
            message={
                "topic": topic,
                "payload": payload.decode(),
                "qos": qos,
                "retain": bool(properties["retain"]),
                "content_type": properties.get("content_type", [None])[0],
                "user_property": properties.get("user_property", []),
            }
        )
        return 0


async def main() -> None:
    loop = asyncio.get_running_loop()
    commands: asyncio.Queue[str | None] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(commands.put_nowait, line)
        loop.call_soon_threadsafe(commands.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    client = Client()
    while (line := await commands.get()) is not None:
        command = json.loads(line)
        try:
            result = await getattr(client, command["do"])(command)
        except Exception as error:  # noqa: BLE001 (all of them are told)
            result = {"error": repr(error)}
        tell(number=command["number"], **result)


asyncio.run(main())
