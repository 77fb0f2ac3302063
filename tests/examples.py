"""How many examples hypothesis makes.

CI runs each test on two builds. `EXAMPLES` in the environment multiplies the number,
which `scripts/test --all` does.
"""

import os

from hypothesis import settings

FACTOR = int(os.environ.get("EXAMPLES", "1"))


def examples(count: int) -> settings:
    """Return the settings for a number of examples, however long each takes."""
    return settings(max_examples=FACTOR * count, deadline=None)
