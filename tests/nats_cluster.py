"""A cluster of three NATS servers on loopback, which keep sessions and messages thrice.

They speak MQTT 3.1.1. What one has acknowledged, the others have as well, so a server
that is killed takes nothing with it.
"""

import subprocess
import sys
import time
from pathlib import Path

from tests.brokers import answers_connect
from tests.ports import free_port

# To elect who leads a stream takes up to ten seconds, and several are elected in turn.
ELECTION_TIMEOUT = 60.0  # seconds
STOP_TIMEOUT = 20.0  # seconds

CONFIG = """\
server_name: "node-{number}"
host: 127.0.0.1
port: {own_port}
jetstream {{
    store_dir: "{directory}/store"
    max_memory_store: 64MB
    max_file_store: 256MB
}}
cluster {{
    name: tests
    listen: "127.0.0.1:{route_port}"
    routes: [{routes}]
}}
mqtt {{
    host: 127.0.0.1
    port: {port}
    # What was not acknowledged is sent again so soon.
    ack_wait: "1s"
}}
"""


class Node:
    """One server of the cluster. It keeps its ports when it is started again."""

    host = "127.0.0.1"

    def __init__(self, directory: Path, number: int, ports: list[int]) -> None:
        self.directory = directory
        self.number = number
        self.port, self.own_port, self.route_port = ports
        self.log_file = directory / "nats.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def start(self, routes: str) -> None:
        """Start it; it answers when it has found the others and a leader is elected."""
        assert self.process is None, "it is running"
        config = self.directory / "nats.conf"
        config.write_text(
            CONFIG.format(
                number=self.number,
                directory=self.directory,
                port=self.port,
                own_port=self.own_port,
                route_port=self.route_port,
                routes=routes,
            )
        )
        program = Path(sys.executable).parent / "nats-server"
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [program, "-c", config],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_until_it_answers(self) -> None:
        assert self.process is not None, "it is not running"
        deadline = time.monotonic() + ELECTION_TIMEOUT
        while self.process.poll() is None and time.monotonic() < deadline:
            if answers_connect(self.host, self.port):
                return
            time.sleep(0.05)
        raise RuntimeError(f"node {self.number} does not answer:\n{self.log}")

    def kill(self) -> None:
        """End it as a crash does."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait(STOP_TIMEOUT)


class Cluster:
    """Three of them, which find one another."""

    def __init__(self, directory: Path) -> None:
        ports: set[int] = set()
        while len(ports) < 9:
            ports.add(free_port())
        self.nodes: list[Node] = []
        for number in range(3):
            place = directory / f"node-{number}"
            place.mkdir(parents=True)
            self.nodes.append(Node(place, number, [ports.pop() for _ in range(3)]))

    @property
    def log(self) -> str:
        return "\n".join(node.log[-2000:] for node in self.nodes)

    def addresses(self, first: int) -> list[tuple[str, int]]:
        """Those of all nodes, from that one on."""
        order = self.nodes[first:] + self.nodes[:first]
        return [(node.host, node.port) for node in order]

    def start(self) -> None:
        """Start all of them, and return when each answers a CONNECT."""
        for node in self.nodes:
            self.start_node(node)
        for node in self.nodes:
            node.wait_until_it_answers()

    def start_node(self, node: Node) -> None:
        node.start(
            ", ".join(f"nats://{one.host}:{one.route_port}" for one in self.nodes)
        )

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()


def start_cluster(directory: Path) -> Cluster:
    """Start three nodes; with other ports if another process takes one in between."""
    for attempt in range(5):
        cluster = Cluster(directory / f"attempt-{attempt}")
        try:
            cluster.start()
        except RuntimeError:
            cluster.stop()
            if "address already in use" not in cluster.log:
                raise
        else:
            return cluster
    raise RuntimeError(f"the cluster did not get its ports:\n{cluster.log}")
