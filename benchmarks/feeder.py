"""Publish a workload's messages to a broker: `feeder.py PORT OPTIONS` (of peer.py).

It connects, encodes, prints a line and waits for one: the runner writes it when the
broker has the client's subscription. At the end it prints what it sent.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
from dataclasses import asdict

import frames
from peer import Counts, Delivery, add_plan_arguments, plan_of

# The seconds for which the broker may neither read nor answer.
SILENCE_SECONDS = 30.0


def feed(
    sock: socket.socket, delivery: Delivery, counts: Counts, messages: int
) -> None:
    delivery.start(sock)
    rest = b""
    while counts.sent < messages:
        data = rest + sock.recv(256 * 1024)
        if data == rest:
            return  # the broker closed the connection
        end = 0
        for run in frames.split_runs(data):
            end = run.end
            match run.head >> 4:
                case frames.PUBACK | frames.PUBCOMP:
                    delivery.acknowledged(run.count)
                case frames.PUBREC:
                    sock.sendall(run.acks(frames.PUBREL))
        rest = data[end:]
        delivery.go_on(sock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    add_plan_arguments(parser)
    arguments = parser.parse_args()
    plan = plan_of(arguments)
    counts = Counts()
    with socket.create_connection(("127.0.0.1", arguments.port)) as sock:
        sock.settimeout(SILENCE_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(frames.encode_connect("feeder"))
        sock.recv(4)  # CONNACK
        delivery = Delivery(plan, counts, version=4, window=plan.window)
        print("ready", flush=True)
        if sys.stdin.readline():
            feed(sock, delivery, counts, plan.messages)
        sock.sendall(bytes([frames.DISCONNECT << 4, 0]))
    print(json.dumps(asdict(counts)), flush=True)


if __name__ == "__main__":
    main()
