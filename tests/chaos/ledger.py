"""What was promised of each message, and what has arrived of it.

A line is one topic, at one QoS. Its messages are numbered, and the number decides the
payload, so that a message which arrived altered is seen.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

# What is known of a message: the call goes on; it was acknowledged; or the call was
# cancelled or raised, so that the message may have been sent or not.
OPEN, PROMISED, UNSURE = range(3)
HEADER: Final = 8
# Bytes of payload after the number; most messages are small.
SIZES: Final = (0, 8, 8, 50, 50, 100, 1000, 8, 50, 5000)
MOST_SHOWN: Final = 5


def make_payload(number: int) -> bytes:
    size = SIZES[number % len(SIZES)]
    return number.to_bytes(HEADER) + bytes([number % 251]) * size


@dataclass
class Line:
    """One topic: the messages that were published to it, and those that arrived.

    Without `keeps_session`, the broker forgot the session of the client under test from
    time to time. Then QoS 2 promises nothing about the messages in flight (0004), and a
    client that receives may miss what was published meanwhile: with `may_miss`, only
    the messages from number `expected_from` on have to arrive.
    """

    topic: str
    qos: int
    keeps_session: bool = True
    may_miss: bool = False
    expected_from: int = 0
    states: bytearray = field(default_factory=bytearray)
    arrivals: bytearray = field(default_factory=bytearray)
    # The highest number that has arrived; the numbers that arrived for the first time
    # after a higher one; payloads that were altered.
    highest: int = -1
    arrived: int = 0  # different messages
    disordered: list[int] = field(default_factory=list)
    altered: int = 0
    # The numbers that the broker sent again although it had sent their PUBREL. If they
    # come twice, the client is not to blame.
    excused: set[int] = field(default_factory=set)
    # Calls that settled twice, or in no way that is allowed.
    unsettled: list[str] = field(default_factory=list)

    def begin(self) -> int:
        """Number a message whose call begins."""
        self.states.append(OPEN)
        self.arrivals.append(0)
        return len(self.states) - 1

    def settle(self, number: int, state: int) -> None:
        """Note how a call has ended."""
        if self.states[number] != OPEN:
            self.unsettled.append(f"{number} settled twice")
        self.states[number] = state

    def arrive(self, payload: bytes) -> None:
        """Note a message that has arrived."""
        number = int.from_bytes(payload[:HEADER])
        if number >= len(self.states) or payload != make_payload(number):
            self.altered += 1
            return
        if not self.arrivals[number]:
            if number < self.highest:
                self.disordered.append(number)
            self.highest = max(self.highest, number)
            self.arrived += 1
        self.arrivals[number] = min(255, self.arrivals[number] + 1)

    def has(self, number: int) -> bool:
        return self.arrivals[number] > 0

    # --- what is right ----------------------------------------------------------------

    @property
    def missing(self) -> list[int]:
        """The messages that were promised, are owed, and have not arrived."""
        if self.qos == 2 and not (self.keeps_session or self.may_miss):
            return []
        return [
            number
            for number, (state, count) in enumerate(
                zip(self.states, self.arrivals, strict=True)
            )
            if state == PROMISED and not count and number >= self.expected_from
        ]

    @property
    def is_complete(self) -> bool:
        return OPEN not in self.states and not self.missing

    @property
    def repeated(self) -> list[int]:
        return [
            number
            for number, count in enumerate(self.arrivals)
            if count > 1 and number not in self.excused
        ]

    def find_problems(self) -> list[str]:
        """Say everything that was wrong with this line."""
        found = []
        open_calls = self.states.count(OPEN)
        checks = {
            "lost": self.missing,
            "out of order": self.disordered,
            "doubled at QoS 2": (
                self.repeated if self.qos == 2 and self.keeps_session else []
            ),
        }
        for what, numbers in checks.items():
            if numbers:
                shown = ", ".join(map(str, numbers[:MOST_SHOWN]))
                found.append(f"{self.topic}: {len(numbers)} {what}: {shown} ...")
        if self.altered:
            found.append(f"{self.topic}: {self.altered} altered or never published")
        if open_calls:
            found.append(f"{self.topic}: {open_calls} calls did not settle")
        found += [f"{self.topic}: {text}" for text in self.unsettled[:MOST_SHOWN]]
        return found


@dataclass
class Ledger:
    """All lines of a run."""

    lines: dict[str, Line] = field(default_factory=dict)
    strays: int = 0

    def open(self, line: Line) -> Line:
        self.lines[line.topic] = line
        return line

    def arrive(self, topic: str, payload: bytes) -> None:
        line = self.lines.get(topic)
        if line is None:
            self.strays += 1
        else:
            line.arrive(payload)

    def excuse(self, topic: str, payload: bytes) -> None:
        """Note a message that the broker sent again although it had sent PUBREL."""
        line = self.lines.get(topic)
        if line is not None:
            line.excused.add(int.from_bytes(payload[:HEADER]))

    @property
    def is_complete(self) -> bool:
        return all(line.is_complete for line in self.lines.values())

    @property
    def arrived(self) -> int:
        return sum(line.arrived for line in self.lines.values())

    def find_problems(self) -> list[str]:
        found = [text for line in self.lines.values() for text in line.find_problems()]
        if self.strays:
            found.append(f"{self.strays} messages of topics that nobody published to")
        return found

    def count(self) -> Counter[str]:
        """Count what happened, by what it was."""
        counts: Counter[str] = Counter()
        for line in self.lines.values():
            qos = f"QoS {line.qos}"
            counts[f"{qos} published"] += len(line.states)
            counts[f"{qos} promised"] += line.states.count(PROMISED)
            counts[f"{qos} arrived"] += line.arrived
            counts[f"{qos} lost"] += len(line.missing)
            kept = "" if line.keeps_session else ", session swapped"
            counts[f"{qos} arrived twice or more{kept}"] += len(line.repeated)
            counts["out of order"] += len(line.disordered)
            counts["sent again by the broker after PUBREL"] += len(line.excused)
        return counts
