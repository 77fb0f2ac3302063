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


def blocks_by_heading(page: str) -> dict[str, list[str]]:
    """Return the Python examples of a page by the heading that they are below."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        examples = re.findall(r"^```python\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
        if examples:
            found[part.partition("\n")[0].strip()] = examples
    return found


def section(heading: str, number: int = 0) -> str:
    """Return an example of docs/connecting.md, counted from 0 below its heading."""
    return blocks_by_heading("docs/connecting.md")[heading][number]
