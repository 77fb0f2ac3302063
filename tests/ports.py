"""Free ports on loopback."""

import random
import socket


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on.

    It is below the ports that the system gives to outgoing connections: from
    those, a client that dials a broker which is down can connect to itself, and
    hold the port that the broker comes back to.
    """
    for _ in range(1000):
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError("no free port between 20000 and 32000")
