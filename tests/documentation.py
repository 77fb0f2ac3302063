"""The pages of the documentation, and the examples in them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def blocks(page: str, language: str = "python") -> list[str]:
    """The examples of a page, in its order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fence = rf"^```{language}\n(.*?)^```$"
    return re.findall(fence, text, re.MULTILINE | re.DOTALL)


def programs(page: str) -> list[str]:
    """Return the Python examples of a page that are whole programs."""
    return [block for block in blocks(page) if "asyncio.run(" in block]
