"""Other MQTT clients behind one interface: each is a process of its own.

A program of `programs/` reads commands from stdin and tells on stdout what happens, a
JSON object a line. A command has a `number`, what to `do` and its arguments; the answer
has the `number` and the result, or an `error`; a message that arrives is told as
`message`. It has at most one connection at a time, and goes on in the next test: to
start one takes longer than a test.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any, Protocol

PROGRAMS = Path(__file__).parent / "programs"
# How long anything may take, in seconds.
TIMEOUT = 15.0
LONGEST_LINE = 1 << 22

Json = dict[str, Any]


class Endpoint(Protocol):
    """The address of a broker."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


class Programs:
    """The processes of programs that wait for somebody who needs them."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, ...], list[subprocess.Popen[bytes]]] = {}

    def take(self, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        """Return a process that runs this, and has no connection."""
        if idle := self._idle.get(command):
            return idle.pop()
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            # For several large messages: neither side has to wait for the other.
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1 << 20)
        return process

    def give_back(
        self, command: tuple[str, ...], process: subprocess.Popen[bytes]
    ) -> None:
        """Keep a process, which has no connection."""
        self._idle.setdefault(command, []).append(process)

    def end(self) -> None:
        """End all that wait."""
        for process in (one for idle in self._idle.values() for one in idle):
            process.communicate(timeout=TIMEOUT)
        self._idle.clear()


class Driver(ABC):
    """A client: at most one connection at a time, of one version of MQTT."""

    # Whether its DISCONNECT asks for the will (5.0 §3.14.2.1).
    disconnects_with_will = False

    def __init__(self, broker: Endpoint, version: int, programs: Programs) -> None:
        self.broker = broker
        self.version = version
        self._programs = programs
        # What the process said so far, for whoever has to find out what went wrong.
        self.said: list[str] = []
        self._messages: asyncio.Queue[Json] = asyncio.Queue()
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @abstractmethod
    async def connect(
        self, client_id: str, *, session: bool = False, will: Json | None = None
    ) -> bool | None:
        """Connect; whether the broker had the session, or None if it can't be told.

        Args:
            client_id: The client identifier.
            session: Whether to take up a session, or begin one that is kept.
            will: topic, payload, qos and retain; None: no will.
        """

    @abstractmethod
    async def subscribe(self, topic_filter: str, qos: int = 0) -> int:
        """Subscribe; return the QoS that was granted."""

    @abstractmethod
    async def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe; return when that was acknowledged."""

    @abstractmethod
    async def publish(
        self,
        topic: str,
        payload: str,
        qos: int = 0,
        *,
        retain: bool = False,
        content_type: str | None = None,
        user_property: list[tuple[str, str]] | None = None,
    ) -> None:
        """Publish; return when that was acknowledged, at QoS 0 when it is sent."""

    @abstractmethod
    async def disconnect(self) -> None:
        """Disconnect as clients do."""

    async def take(self, **expected: Any) -> Json:
        """Return the next message, which has to be this one."""
        try:
            async with asyncio.timeout(TIMEOUT):
                message = await self._messages.get()
        except TimeoutError:
            raise self.failure(f"no message came, waiting for {expected}") from None
        found = {name: message[name] for name in expected}
        if found != expected:
            raise self.failure(f"expected {expected}, came {message}")
        return message

    async def vanish(self) -> None:
        """End the process in the middle of whatever it does: no DISCONNECT."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self.close()

    async def leave(self) -> None:
        """End what the test began."""
        await self.vanish()

    async def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        reading, self._reading = self._reading, None
        if process is None or reading is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(TIMEOUT):
                await reading
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise self.failure("it does not end") from None

    def failure(self, text: str) -> AssertionError:
        """Return an error with the end of what the process said."""
        return AssertionError("\n  ".join([text, *self.said[-40:]]))

    async def _start(self, *command: str, stdin: int | None = PIPE) -> None:
        self.said.append("$ " + " ".join(command))
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else stdin,
            stdout=PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LONGEST_LINE,
        )
        assert self._process.stdout is not None
        self._reading = asyncio.create_task(self._read(self._process.stdout))

    async def _read(self, output: asyncio.StreamReader) -> None:
        async for line in output:
            text = line.decode().rstrip("\n")
            self.said.append(text[:500])
            self._heard(text)
        self._heard(None)

    @abstractmethod
    def _heard(self, line: str | None) -> None:
        """Handle a line of the process; None: there will be no further one."""


class Program(Driver):
    """A program of `programs/`."""

    # How it is run.
    command: tuple[str, ...]

    def __init__(self, broker: Endpoint, version: int, programs: Programs) -> None:
        super().__init__(broker, version, programs)
        self._answers: dict[int, asyncio.Future[Json]] = {}
        self._number = 0
        self._program: subprocess.Popen[bytes] | None = None
        self._output: asyncio.BaseTransport | None = None
        self._is_connected = False
        self._has_failed = False

    async def _begin(self) -> None:
        """Take a process, and read what it says."""
        self._program = self._programs.take(self.command)
        self.said.append("$ " + " ".join(self.command))
        assert self._program.stdout is not None
        reader = asyncio.StreamReader(limit=LONGEST_LINE)
        self._output, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader),
            os.fdopen(os.dup(self._program.stdout.fileno()), "rb"),
        )
        self._reading = asyncio.create_task(self._read(reader))

    async def _read_no_more(self) -> None:
        reading, self._reading = self._reading, None
        assert reading is not None
        assert self._output is not None
        reading.cancel()
        await asyncio.wait([reading])
        self._output.close()

    def failure(self, text: str) -> AssertionError:
        self._has_failed = True
        return super().failure(text)

    async def leave(self) -> None:
        if self._has_failed:
            await self.vanish()
        elif self._program is not None:
            if self._is_connected:
                await self.disconnect()
            await self._read_no_more()
            self._programs.give_back(self.command, self._program)
            self._program = None

    async def vanish(self) -> None:
        program, self._program = self._program, None
        if program is None:
            return
        program.kill()
        await self._read_no_more()
        self._is_connected = False
        program.communicate()

    async def _do(self, do: str, **arguments: Any) -> Json:
        assert self._program is not None
        assert self._program.stdin is not None
        self._number += 1
        command = {"number": self._number, "do": do, **arguments}
        answer = asyncio.get_running_loop().create_future()
        self._answers[self._number] = answer
        self.said.append(f"> {json.dumps(command)[:500]}")
        self._program.stdin.write(json.dumps(command).encode() + b"\n")
        self._program.stdin.flush()
        try:
            async with asyncio.timeout(TIMEOUT):
                result: Json = await answer
        except TimeoutError:
            raise self.failure(f"no answer to {do}") from None
        if "error" in result:
            raise self.failure(f"{do}: {result['error']}")
        return result

    def _heard(self, line: str | None) -> None:
        if line is None:
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_result({"error": "the program has ended"})
            return
        try:
            told = json.loads(line)
        except ValueError:
            return  # it speaks to us, not to the program
        if "message" in told:
            self._messages.put_nowait(told["message"])
        elif not (answer := self._answers.pop(told["number"])).done():
            answer.set_result(told)

    async def connect(
        self, client_id: str, *, session: bool = False, will: Json | None = None
    ) -> bool | None:
        if self._program is None:
            await self._begin()
        answer = await self._do(
            "connect",
            host=self.broker.host,
            port=self.broker.port,
            version=self.version,
            client_id=client_id,
            session=session,
            will=will,
        )
        self._is_connected = True
        return bool(answer["session_present"])

    async def subscribe(self, topic_filter: str, qos: int = 0) -> int:
        answer = await self._do("subscribe", filter=topic_filter, qos=qos)
        return int(answer["granted"])

    async def unsubscribe(self, topic_filter: str) -> None:
        await self._do("unsubscribe", filter=topic_filter)

    async def publish(
        self, topic: str, payload: str, qos: int = 0, **more: Any
    ) -> None:
        await self._do("publish", topic=topic, payload=payload, qos=qos, **more)

    async def disconnect(self) -> None:
        await self._do("disconnect")
        self._is_connected = False


class Paho(Program):
    """paho-mqtt, the client of the Eclipse foundation for Python."""

    command = (sys.executable, str(PROGRAMS / "paho_client.py"))


class Gmqtt(Program):
    """gmqtt, another client for asyncio."""

    command = (sys.executable, str(PROGRAMS / "gmqtt_client.py"))


class MqttJs(Program):
    """MQTT.js, the client for JavaScript."""

    command = ("node", str(PROGRAMS / "mqttjs_client.mjs"))


class MosquittoTools(Driver):
    """mosquitto_sub for what is received, mosquitto_pub for what is published.

    mosquitto_sub takes its subscriptions when it starts: each change is a connection
    of its own. It is there as soon as there is something to subscribe to.
    """

    def __init__(self, broker: Endpoint, version: int, programs: Programs) -> None:
        super().__init__(broker, version, programs)
        self.disconnects_with_will = version == 5
        self._arguments: list[str] = []
        self._filters: dict[str, int] = {}
        self._granted: asyncio.Future[int] | None = None
        # How many messages were received and not printed yet.
        self._unprinted = 0

    @property
    def _common(self) -> list[str]:
        name = {3: "mqttv31", 4: "mqttv311", 5: "mqttv5"}[self.version]
        return ["-h", self.broker.host, "-p", str(self.broker.port), "-V", name]

    async def connect(
        self, client_id: str, *, session: bool = False, will: Json | None = None
    ) -> bool | None:
        self._arguments = ["-i", client_id]
        if session:
            self._arguments.append("-c")  # in 5.0 for as long as there can be
        if will is not None:
            self._arguments += ["--will-topic", will["topic"]]
            self._arguments += ["--will-payload", will["payload"]]
            self._arguments += ["--will-qos", str(will["qos"])]
            if will["retain"]:
                self._arguments.append("--will-retain")
        if session and self._filters:
            await self._restart()
        return None

    async def _restart(self, *unsubscribe: str) -> int:
        await self.disconnect()
        self._granted = asyncio.get_running_loop().create_future()
        self._unprinted = 0
        # It writes by the block where nobody looks on.
        command = [
            "stdbuf",
            "-oL",
            "mosquitto_sub",
            "-d",
            "-F",
            "%j",
            *self._common,
            *self._arguments,
        ]
        # One QoS is for all of them.
        command += ["-q", str(max(self._filters.values()))]
        for topic_filter in self._filters:
            command += ["-t", topic_filter]
        for topic_filter in unsubscribe:
            command += ["-U", topic_filter]
        await self._start(*command, stdin=None)
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._granted
        except TimeoutError:
            raise self.failure("mosquitto_sub did not subscribe") from None

    async def subscribe(self, topic_filter: str, qos: int = 0) -> int:
        self._filters[topic_filter] = qos
        return await self._restart()

    async def unsubscribe(self, topic_filter: str) -> None:
        del self._filters[topic_filter]
        if self._filters:
            await self._restart(topic_filter)
        else:  # it needs something to subscribe to
            await self.disconnect()

    async def publish(
        self,
        topic: str,
        payload: str,
        qos: int = 0,
        *,
        retain: bool = False,
        content_type: str | None = None,
        user_property: list[tuple[str, str]] | None = None,
    ) -> None:
        command = ["mosquitto_pub", *self._common, "-t", topic, "-q", str(qos)]
        command += ["-m", payload] if payload else ["-n"]
        if retain:
            command.append("-r")
        if content_type is not None:
            command += ["-D", "PUBLISH", "content-type", content_type]
        for name, value in user_property or ():
            command += ["-D", "PUBLISH", "user-property", name, value]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=PIPE
        )
        try:
            async with asyncio.timeout(TIMEOUT):
                _, errors = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise self.failure(f"{command} does not end") from None
        if process.returncode or errors:
            raise self.failure(f"{command}: {process.returncode} {errors.decode()}")

    async def disconnect(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
        await self.close()

    def _heard(self, line: str | None) -> None:
        granted = self._granted
        assert granted is not None
        if line is None:
            if not granted.done():
                granted.set_exception(self.failure("mosquitto_sub has ended"))
        elif " received PUBLISH " in line:
            self._unprinted += 1
        elif line.startswith("{"):
            # It prints in its signal handler, too: a signal while a line is being
            # flushed writes that line once more.
            if self._unprinted:
                self._unprinted -= 1
                self._messages.put_nowait(self._message_of(line))
        elif line.startswith("Subscribed (mid: ") and not granted.done():
            codes = line.partition("): ")[2].split(", ")
            granted.set_result(int(codes[-1]))

    @staticmethod
    def _message_of(line: str) -> Json:
        # A name may stand more than once in its user properties, which are one object
        # or, in later versions, a list of them.
        told = dict(json.loads(line, object_pairs_hook=lambda pairs: pairs))
        properties = dict(told.get("properties", []))
        user: list[Any] = []
        for item in properties.get("user-properties", []):
            user += item if isinstance(item, list) else [item]
        return {
            "topic": told["topic"],
            "payload": told.get("payload") or "",
            "qos": told["qos"],
            "retain": bool(told["retain"]),
            "content_type": properties.get("content-type"),
            "user_property": [list(pair) for pair in user],
        }


CLIENTS: dict[str, type[Driver]] = {
    "mosquitto": MosquittoTools,
    "paho": Paho,
    "gmqtt": Gmqtt,
    "mqtt.js": MqttJs,
}
