"""The file of a session cut at each byte, and with each page inverted."""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from tests.stores.sqlite.damage import flipped, groups, sweep, truncated, write_files

FILES: Final[tuple[tuple[str, list[str]], ...]] = (
    ("session.db", []),
    ("session.db", ["session.db-wal"]),
    ("session.db-wal", ["session.db"]),
)


def damage_files(seed: int, step: int, result: Path) -> None:
    """Damage the files of a session, and write down how many were read or refused.

    Args:
        seed: The seed of what is in the file.
        step: Each how many bytes to cut.
        result: The file for the figures.

    Raises:
        AssertionError: One was read, but not as a state that it had.
    """
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="campaign-") as name:
        directory = Path(name)
        made, states = groups(seed, 4)
        write_files(directory, made)
        for file, others in FILES:
            contents = (directory / file).read_bytes()
            for what, damaged in (
                ("cut", truncated(contents, step)),
                ("with an inverted page", flipped(contents, 1)),
            ):
                was_read, refused = sweep(directory, file, damaged, states, others)
                counts[f"files {what}"] += was_read + refused
                counts["read as they were"] += was_read
                counts["refused"] += refused
    result.write_text(json.dumps(counts))
