"""Show progress on stderr: a bar on a terminal, else a line for each round."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

BAR = 24

Key = tuple[str, str]  # a workload and a client


@dataclass(slots=True)
class Progress:
    rounds: int
    keys: list[Key]  # what runs in each round
    done: int = 0
    # The seconds that each run took the last time.
    _seconds: dict[Key, float] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)

    @property
    def total(self) -> int:
        return self.rounds * len(self.keys)

    def show(self, key: Key) -> None:
        """Show that a run begins."""
        if not sys.stderr.isatty() or not self.total:
            return
        filled = BAR * self.done // self.total
        bar = "#" * filled + "-" * (BAR - filled)
        number = self.done // len(self.keys) + 1
        text = (
            f"[{bar}] {self.done}/{self.total}, round {number}/{self.rounds},"
            f" {self._left()}: {', '.join(key)}"
        )
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def ran(self, key: Key, seconds: float, *, again: bool) -> None:
        """Note the duration of a run; `again`: it runs in the next round too."""
        self._seconds[key] = seconds if again else 0.0
        self.done += 1
        if not sys.stderr.isatty() and self.done % len(self.keys) == 0:
            number = self.done // len(self.keys)
            text = f"round {number} of {self.rounds} done"
            text += f" after {_duration(time.monotonic() - self._started)}"
            if number < self.rounds:
                text += f", {self._left()}"
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _left(self) -> str:
        """Estimate the rest by the durations of the round before.

        In the first round, what did not run yet counts as the average of what did.
        """
        if not self._seconds:
            return "? left"
        average = sum(self._seconds.values()) / len(self._seconds)
        seconds = [self._seconds.get(key, average) for key in self.keys]
        whole, part = divmod(self.total - self.done, len(self.keys))
        # The rest of this round are its last runs: the order changes little.
        left = whole * sum(seconds) + sum(seconds[len(seconds) - part :])
        return f"{_duration(left)} left"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
