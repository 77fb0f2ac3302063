"""Faults of one network, chosen by a seed: at every packet boundary, inside packets.

Each `Saboteur` has the proxy of one client. It orders a fault, waits until it has
happened and messages flow again, and orders the next one.
"""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from aiomqtt.standard.tables import PacketType
from aiomqtt.testing import (
    BROKER,
    CLIENT,
    CONNACK,
    CONNECT,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    FaultProxy,
    NetworkConditions,
    Sender,
)
from tests.until import becomes_so

# The packets of a client that publishes, of one that receives, and of both.
PUBLISHES: Final = (
    *((CLIENT, kind) for kind in (PUBLISH, PUBREL)),
    *((BROKER, kind) for kind in (PUBACK, PUBREC, PUBCOMP)),
)
RECEIVES: Final = (
    *((BROKER, kind) for kind in (PUBLISH, PUBREL)),
    *((CLIENT, kind) for kind in (PUBACK, PUBREC, PUBCOMP)),
)
BOTH: Final = (
    *((CLIENT, kind) for kind in (CONNECT, SUBSCRIBE, UNSUBSCRIBE)),
    *((BROKER, kind) for kind in (CONNACK, SUBACK, UNSUBACK)),
)
OFTEN: Final = {kind for _, kind in (*PUBLISHES, *RECEIVES)}
# What happens at a packet: boundaries by FIN and RST, and inside of it.
ENDS: Final = (
    *("before cut", "before reset", "after cut", "after reset"),
    *("truncate", "truncate"),
)
# What happens at some time; of these, as many as these numbers say.
ANYTIME: Final = Counter(
    {
        "reset": 4,
        "cut": 4,
        "stall": 6,
        "stall one way": 6,
        "black hole one way": 6,
        "black hole until noticed": 1,
        "fragment": 6,
        "delay": 3,
        "slow network": 3,
    }
)
SLOW: Final = NetworkConditions(latency=0.01, jitter=0.02)
# The seconds within which an ordered fault happens, unless there is no such packet.
REACHED: Final = 1.0
# The seconds that a busy machine may take longer to notice a black hole.
PATIENCE: Final = 20.0
# So many packets flow between two faults, or so many seconds pass.
BETWEEN: Final = 400
PAUSE: Final = 0.4
# The longest inside of a packet at which it is cut, in bytes.
LONGEST: Final = 40


class Fault(NamedTuple):
    what: str
    sender: Sender | None = None
    kind: PacketType | None = None

    def __str__(self) -> str:
        if self.sender is None or self.kind is None:
            return self.what
        side = "client" if self.sender is CLIENT else "broker"
        return f"{self.what} {side}'s {self.kind!r}"


def make_deck(role: str, generator: random.Random) -> list[Fault]:
    """Every fault that there is, in an order by chance."""
    packets = (PUBLISHES if role == "publisher" else RECEIVES) + BOTH
    deck = [
        Fault(how, sender, kind)
        for (sender, kind), how in itertools.product(packets, ENDS)
    ]
    deck += [Fault(what) for what in ANYTIME.elements()]
    generator.shuffle(deck)
    return deck


class Saboteur:
    """Breaks one network again and again."""

    def __init__(
        self,
        proxy: FaultProxy,
        role: str,
        keep_alive: int,
        seed: str,
        is_connected: Callable[[], bool],
    ) -> None:
        self.proxy = proxy
        self.is_connected = is_connected
        self.random = random.Random(seed)
        self.role = role
        self.keep_alive = keep_alive
        self.counts: Counter[Fault] = Counter()
        # Faults whose packet did not come in time.
        self.missed = 0
        # Set while the network works and nothing is ordered, for those who need that.
        self.turn = asyncio.Lock()

    async def run(self) -> None:
        """Order faults until cancelled; the network then works again."""
        try:
            while True:
                for fault in make_deck(self.role, self.random):
                    async with self.turn:
                        await self.break_by(fault)
                    await self.recover()
        finally:
            self.proxy.orders.clear()
            self.proxy.resume()
            self.proxy.set_conditions(None)
            # A black hole may have swallowed bytes.
            self.proxy.reset()

    async def recover(self) -> None:
        """Wait until packets flow again."""
        packets = self.proxy.packets
        enough = packets.total() + BETWEEN
        await becomes_so(lambda: packets.total() >= enough, PAUSE)

    async def break_by(self, fault: Fault) -> None:
        """Let a fault happen."""
        if fault.kind is None:
            await self.break_now(fault)
            return
        proxy, sender = self.proxy, fault.sender
        assert sender is not None
        number = proxy.packets[sender, fault.kind]
        number += self.random.randint(1, 30) if fault.kind in OFTEN else 1
        is_after = fault.what.startswith("after")
        order = (proxy.after if is_after else proxy.before)(sender, fault.kind, number)
        if fault.what == "truncate":
            order.truncate(self.random.randint(1, LONGEST))
        elif fault.what.endswith("cut"):
            order.cut()
        else:
            order.reset()
        if fault.kind in (CONNECT, CONNACK):
            proxy.reset()
        await becomes_so(lambda: order.triggered, REACHED)
        proxy.orders.clear()
        if order.triggered:
            self.counts[fault] += 1
        else:
            self.missed += 1

    async def break_now(self, fault: Fault) -> None:
        """Let a fault happen that waits for no packet."""
        proxy, choose = self.proxy, self.random
        one = choose.choice((CLIENT, BROKER))
        seconds = choose.uniform(0.02, 0.3)
        match fault.what:
            case "reset":
                proxy.reset()
            case "cut":
                proxy.cut()
            case "stall":
                proxy.stall()
                await asyncio.sleep(seconds)
            case "stall one way":
                proxy.stall(one)
                await asyncio.sleep(seconds)
            case "black hole one way":
                proxy.black_hole(one)
                await asyncio.sleep(seconds)
                proxy.reset()
            case "black hole until noticed":
                proxy.black_hole(one)
                # The client notices by keep alive, if it was connected.
                limit = 3 * self.keep_alive + PATIENCE
                if not await becomes_so(lambda: not self.is_connected(), limit):
                    raise AssertionError("the client does not notice a black hole")
                proxy.resume()
                # What the client has sent to the new connection is lost.
                proxy.reset()
            case "fragment":
                proxy.fragment(choose.choice((1, 2, 3, None)), one)
                await asyncio.sleep(seconds)
            case "delay":
                proxy.delay(choose.uniform(0.001, 0.02), one)
                await asyncio.sleep(seconds)
            case "slow network":
                proxy.set_conditions(SLOW)
                await asyncio.sleep(seconds)
                proxy.set_conditions(None)
            case _:
                raise AssertionError(fault)
        proxy.resume()
        self.counts[fault] += 1
