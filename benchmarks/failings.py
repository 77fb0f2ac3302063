"""Known failings of other clients, run: `python benchmarks/failings.py`.

Each case is a short program in `clients/failings/`. It is run for a client that is
known to fail and for this checkout's aiomqtt; a Markdown table of what was seen is
printed. The exit status is 1 when aiomqtt failed. Standard library only.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import frames
from environments import CLIENTS, PROGRAMS, Client, SetUpError, set_up
from other_ends import HOST, OtherEnd, Peer

OURS = "aiomqtt"

# A program tells by itself that its client hangs, unless the client keeps it from that.
LIMIT_SECONDS = 30.0

BURST = 4000  # messages
PUBLISHES = 100
RECEIVE_MAXIMUM = 20

# The seconds for which the limited peer gathers messages before acknowledging them.
GATHER_SECONDS = 0.02

KNOWN = {
    client.name: client
    for client in (
        *CLIENTS,
        # In the benchmarks pymosquitto stands for both.
        Client("ctypes-mosquitto", "package", "", "ctypes-mosquitto==0.2.0"),
    )
}


class LimitedPeer(OtherEnd):
    """A peer for one MQTT 5.0 client that says how much that may have in flight.

    It acknowledges what it got when nothing more comes for a moment, and closes the
    connection when that is more than it allows (MQTT 5.0 §3.3.4).
    """

    def __init__(self, receive_maximum: int | None) -> None:
        super().__init__()
        self._receive_maximum = receive_maximum
        self._received = 0

    def _open(self) -> None:
        listener = self._stack.enter_context(socket.create_server((HOST, 0)))
        self.port = listener.getsockname()[1]
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def counts(self) -> dict[str, int]:
        return {"received": self._received}

    def _serve(self, listener: socket.socket) -> None:
        sock, _ = listener.accept()
        sock.settimeout(GATHER_SECONDS)
        kept = acks = b""
        with closing(sock):
            while True:
                try:
                    received = sock.recv(65_536)
                except TimeoutError:
                    sock.sendall(acks)
                    acks = b""
                    continue
                except ConnectionError:
                    return
                data = kept + received
                end = 0
                for run in frames.split_runs(data):
                    acks += self._on_packets(run, sock)
                    end = run.end
                kept = data[end:]
                in_flight = len(acks) // 4
                if not received or in_flight > (self._receive_maximum or in_flight):
                    return

    def _on_packets(self, run: frames.Run, sock: socket.socket) -> bytes:
        """Answer CONNECT; the result is the PUBACKs for what has come."""
        if run.head >> 4 == frames.CONNECT:
            properties = b""
            if self._receive_maximum is not None:
                properties = b"\x21" + self._receive_maximum.to_bytes(2)
            body = b"\x00\x00" + bytes([len(properties)]) + properties
            sock.sendall(bytes([frames.CONNACK << 4, len(body)]) + body)
        if run.head >> 4 != frames.PUBLISH:
            return b""
        self._received += run.count
        topic_length = run.column(0)[0] << 8 | run.column(1)[0]
        return run.acks(frames.PUBACK, id_offset=2 + topic_length)


@dataclass(frozen=True, slots=True)
class Case:
    title: str
    # Called as `PROGRAM WAY PORT` with these arguments; exit status 0 means success.
    program: str
    arguments: tuple[int, ...]
    other_end: Callable[[], OtherEnd]
    # The clients and, for each, the ways that the program supports.
    ways: tuple[tuple[str, str], ...]


CASES = (
    Case(
        f"a burst of {BURST:,} QoS 0 messages arrives",
        "burst.py",
        (BURST,),
        lambda: Peer([f"--messages={BURST}", "--qos=0", f"--window={BURST}"]),
        (("aiomqtt-3", "aiomqtt-3"), (OURS, "aiomqtt")),
    ),
    Case(
        f"{PUBLISHES} times `await publish(qos=0)`",
        "publish_qos0.py",
        (PUBLISHES,),
        lambda: Peer([]),
        (
            ("ctypes-mosquitto", "AIO"),
            ("pymosquitto", "TrueAsyncMosquitto"),
            ("pymosquitto", "AsyncMosquitto"),
            (OURS, "aiomqtt"),
        ),
    ),
    Case(
        f"{PUBLISHES} QoS 1 publishes at once, Receive Maximum {RECEIVE_MAXIMUM} in"
        " CONNACK",
        "receive_maximum.py",
        (PUBLISHES, 0),
        lambda: LimitedPeer(RECEIVE_MAXIMUM),
        (("gmqtt", "gmqtt"), (OURS, "aiomqtt")),
    ),
    Case(
        f"the same, Receive Maximum {RECEIVE_MAXIMUM} in CONNECT",
        "receive_maximum.py",
        (PUBLISHES, RECEIVE_MAXIMUM),
        lambda: LimitedPeer(None),
        (("gmqtt", "gmqtt"), (OURS, "aiomqtt")),
    ),
)


@dataclass(frozen=True, slots=True)
class Seen:
    works: bool
    text: str


def see(case: Case, client: Client, way: str, python: str) -> Seen:
    program = PROGRAMS / "failings" / case.program
    interpreter = set_up(client, python).executable
    with case.other_end() as other:
        numbers = map(str, (other.port, *case.arguments))
        try:
            done = subprocess.run(
                [str(interpreter), str(program), way, *numbers],
                capture_output=True,
                text=True,
                timeout=LIMIT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Seen(works=False, text="the program does not end")
    # Its last line, which may be that of a traceback.
    said = (done.stdout or done.stderr).strip()
    return Seen(not done.returncode, said.rpartition("\n")[2])


def name_of(client: Client, way: str) -> str:
    """Return the client with its version, and the class if a package has several."""
    if client.name == OURS:
        return f"**{OURS}**"
    requirement = client.requirement.removeprefix("--no-deps ").partition(" ")[0]
    name = requirement.replace("==", " ")
    return f"{name} `{way}`" if way not in KNOWN else name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--python", default=sys.executable, help="that runs the clients"
    )
    python = parser.parse_args().python
    ours_works = True
    print("| case | client | | what was seen |\n| --- | --- | --- | --- |")
    for case in CASES:
        for name, way in case.ways:
            client = KNOWN[name]
            try:
                seen = see(case, client, way, python)
                verdict = "works" if seen.works else "**fails**"
            except SetUpError as error:
                seen = Seen(works=False, text=str(error).partition("\n")[0])
                verdict = "not set up"
            title = case.title
            print(f"| {title} | {name_of(client, way)} | {verdict} | {seen.text} |")
            sys.stdout.flush()
            if name == OURS:
                ours_works &= seen.works
    return 0 if ours_works else 1


if __name__ == "__main__":
    sys.exit(main())
