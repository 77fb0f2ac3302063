"""The build of the hot modules in use: compiled by mypyc, or their Python source.

Both come from the same files. This module must be imported before the others: with
AIOMQTT_PURE=1 in the environment it makes Python ignore the compiled files.
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
    from mypy_extensions import i64 as i64
    from mypy_extensions import mypyc_attr as mypyc_attr
else:
    # An int that is below 2**63, which mypyc keeps in a register.
    i64 = int

    def mypyc_attr(**_):
        """Replace mypyc's decorator of that name, which only its compiler reads."""
        return lambda decorated: decorated


_PACKAGE: Final = __name__.rpartition(".")[0]


class _SourceFinder:
    """Finds the source of this package's modules, even beside compiled files."""

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
