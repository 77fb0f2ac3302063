"""Publish with ohmqtt from a session in a SQLite file: PORT MESSAGES WINDOW SIZE.

Further arguments: the durability, and the directory for the file. Prints seconds.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from ohmqtt import Client

LIMIT = 600.0  # seconds


def main() -> None:
    port, messages, window, size = map(int, sys.argv[1:5])
    durability, directory = sys.argv[5:7]
    file = str(Path(directory) / "ohmqtt.db")
    payload = bytes(size)
    # `db_fast` is a write-ahead log without waiting for the disk, our "normal".
    with Client(file, db_fast=durability == "normal") as client:
        client.connect(f"mqtt://127.0.0.1:{port}", client_id="durable-ohmqtt")
        client.wait_for_connect(LIMIT)
        started = time.perf_counter()
        for first in range(0, messages, window):
            count = min(window, messages - first)
            group = [client.publish("durable", payload, qos=1) for _ in range(count)]
            for published in group:
                published.wait_for_ack(LIMIT)
        print(time.perf_counter() - started)
        client.disconnect()
        client.wait_for_disconnect(LIMIT)


if __name__ == "__main__":
    main()
