"""`help()` in both builds: mypyc drops docstrings, and the build adds them."""

import ast
import importlib
import inspect
import pydoc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aiomqtt

SOURCE = Path(__file__).parents[1] / "src"
FILLER = "mypyc filler docstring"
# What starts something when it is imported.
LEFT_OUT = {"aiomqtt.__main__"}
MODULES = sorted(
    name
    for path in (SOURCE / "aiomqtt").rglob("*.py")
    if (name := ".".join(path.relative_to(SOURCE).with_suffix("").parts))
    not in LEFT_OUT
)


def documented(node: ast.AST, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """The public classes, functions, methods and properties, and their docstrings."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if child.name.startswith("_"):
                continue
            inner = (*path, child.name)
            text = ast.get_docstring(child)
            setter = any(
                isinstance(name, ast.Attribute) for name in child.decorator_list
            )
            if text and not setter:
                yield ".".join(inner), text
            if isinstance(child, ast.ClassDef):
                yield from documented(child, inner)


@pytest.mark.parametrize("name", MODULES)
def test_the_docstrings_are_those_of_the_source(name):
    module = importlib.import_module(name.removesuffix(".__init__"))
    if str(module.__file__).endswith(".py"):
        return  # they are those of what was imported
    source = SOURCE.joinpath(*name.split(".")).with_suffix(".py")
    for path, text in documented(ast.parse(source.read_text(encoding="utf-8"))):
        found: Any = module
        for part in path.split("."):
            found = inspect.getattr_static(found, part)
        found = getattr(found, "__func__", found)
        doc = inspect.cleandoc(found.__doc__ or "")
        # An enumeration or named tuple, of which none that is compiled is public.
        if doc != FILLER:
            assert doc == text, path


@pytest.mark.parametrize("name", sorted(set(aiomqtt.__all__)))
def test_help_tells_what_a_public_class_is_and_takes(name):
    found = getattr(aiomqtt, name)
    if not inspect.isclass(found):
        return
    shown = pydoc.render_doc(found, renderer=pydoc.TextDoc())
    first = (found.__doc__ or "").strip().partition("\n")[0]
    assert first
    assert first != FILLER
    assert first in shown
    if not issubclass(found, Exception):
        assert inspect.signature(found) is not None
