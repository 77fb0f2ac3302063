"""Which build of the hot modules runs: compiled by mypyc, or their Python source.

Both come from the same files. It has to be imported before the others: with
AIOMQTT_PURE=1 in the environment it has Python look past the compiled ones.
"""

import os
import sys
from collections.abc import Sequence
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**_):
        """Say something of a class to the compiler; to Python it says nothing."""
        return lambda decorated: decorated


_PACKAGE: Final = __name__.rpartition(".")[0]


class _SourceFinder:
    """Finds the source of this package's modules, whatever else lies beside it."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(f"{_PACKAGE}."):
            return None
        for directory in path or ():
            finder = FileFinder(directory, (SourceFileLoader, SOURCE_SUFFIXES))
            spec = finder.find_spec(name, target)
            if spec is not None:
                return spec
        return None


def _find_build() -> str:
    if os.environ.get("AIOMQTT_PURE", "") not in ("", "0"):
        sys.meta_path.insert(0, _SourceFinder)
        return "pure"
    engine = find_spec(f"{_PACKAGE}.protocol.engine")
    is_compiled = engine is not None and str(engine.origin).endswith(
        tuple(EXTENSION_SUFFIXES)
    )
    return "compiled" if is_compiled else "pure"


# "compiled" or "pure".
__build__: Final = _find_build()
