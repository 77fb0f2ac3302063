"""The public names: none is lost, and none is added by accident."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import aiomqtt
import aiomqtt.broker
import aiomqtt.testing

# The names of aiomqtt 2.5.
NAMES_OF_2_5 = {
    "Client",
    "Message",
    "MessagesIterator",
    "MqttCodeError",
    "MqttError",
    "MqttReentrantError",
    "ProtocolVersion",
    "ProxySettings",
    "TLSParameters",
    "Topic",
    "TopicLike",
    "Wildcard",
    "WildcardLike",
    "Will",
    "__version__",
    "__version_tuple__",
}
# What 2.6 adds.
ADDED = {
    "Authenticator",
    "Broker",
    "Capabilities",
    "ClientStatistics",
    "ConnectionState",
    "DurableSession",
    "MessageTransaction",
    "MqttConnectError",
    "MqttLimitError",
    "OfflineQueue",
    "PROCESSED_TABLE",
    "ParsedMessage",
    "PendingMessage",
    "Properties",
    "Publication",
    "ReasonCode",
    "Receipt",
    "Reconnect",
    "SQLiteSession",
    "SQLiteStore",
    "ScramSha256",
    "SessionStore",
    "SessionStoreError",
    "StateChange",
    "StoredReceipt",
    "Redirect",
    "RedisSession",
    "RequestServer",
    "Stream",
    "SubscribeOptions",
    "Transaction",
    "__build__",
}

PATHS = {
    "aiomqtt.client": NAMES_OF_2_5
    - {"__version__", "__version_tuple__", "TopicLike", "WildcardLike"},
    "aiomqtt.exceptions": {
        "MqttCodeError",
        "MqttConnectError",
        "MqttError",
        "MqttReentrantError",
    },
    "aiomqtt.message": {"Message"},
    "aiomqtt.topic": {"Topic", "TopicLike", "Wildcard", "WildcardLike"},
    "aiomqtt.types": {
        "PayloadType",
        "SocketOption",
        "SubscribeTopic",
        "WebSocketHeaders",
    },
}


def test_all_is_locked():
    assert set(aiomqtt.__all__) == NAMES_OF_2_5 | ADDED
    assert len(aiomqtt.__all__) == len(set(aiomqtt.__all__))


@pytest.mark.parametrize("name", sorted(aiomqtt.__all__))
def test_every_name_is_there(name):
    assert getattr(aiomqtt, name) is not None


@pytest.mark.parametrize(
    ("path", "name"),
    [(path, name) for path, names in PATHS.items() for name in sorted(names)],
)
def test_the_paths_that_programs_import(path, name):
    found = getattr(importlib.import_module(path), name)
    assert found is getattr(aiomqtt, name, found)


@pytest.mark.parametrize("path", sorted(PATHS))
def test_type_checkers_find_them_there(path):
    # What a module imports is not its own to them, unless it is in __all__.
    module = importlib.import_module(path)
    place = Path(aiomqtt.__file__).parent.joinpath(*path.split(".")[1:])
    source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    own = set(getattr(module, "__all__", ()))
    for node in ast.parse(source.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            own.add(ast.unparse(node.target))
    assert own >= PATHS[path]


def test_a_star_import_gives_the_public_names():
    names: dict[str, object] = {}
    exec("from aiomqtt import *", names)
    assert set(names) - {"__builtins__"} == set(aiomqtt.__all__)


def test_the_version():
    assert aiomqtt.__version__ == "2.6.0rc1"
    assert aiomqtt.__version_tuple__ == (2, 6, 0, "rc1")
    numbers = ".".join(map(str, aiomqtt.__version_tuple__[:3]))
    assert numbers + "".join(aiomqtt.__version_tuple__[3:]) == aiomqtt.__version__


def test_the_types_are_published():
    assert (Path(aiomqtt.__file__).parent / "py.typed").exists()


def public_modules():
    """The modules that define what programs import, with the paths of their source."""
    names = {*PATHS, "aiomqtt.payload", "aiomqtt.paho"}
    for package in (aiomqtt, aiomqtt.broker, aiomqtt.testing):
        found = [getattr(package, name) for name in package.__all__]
        names |= {getattr(one, "__module__", "aiomqtt") for one in found}
    root = Path(aiomqtt.__file__).parent
    for name in sorted(names):
        path = root.joinpath(*name.split(".")[1:])
        source = path.with_suffix(".py")
        if name.startswith("aiomqtt."):
            yield name, source if source.exists() else path / "__init__.py"


def public_annotations(node):
    """The types of what a module or class has, and of the parameters of its methods."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.AnnAssign):
            if getattr(child.annotation, "id", "") == "TypeAlias":
                yield child.target, child.value
            yield child.target, child.annotation
            continue
        if isinstance(child, ast.If):
            yield from public_annotations(child)
        name = getattr(child, "name", "_")
        if name.startswith("_") and not name.endswith("__"):
            continue
        if isinstance(child, ast.ClassDef):
            yield from ((child, base) for base in child.bases)
            yield from public_annotations(child)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            one = child.args
            for argument in (
                *one.posonlyargs,
                *one.args,
                *one.kwonlyargs,
                *filter(None, (one.vararg, one.kwarg)),
            ):
                yield child, argument.annotation
            yield child, child.returns


@pytest.mark.parametrize(
    "source", [pytest.param(path, id=name) for name, path in public_modules()]
)
def test_no_public_signature_says_any(source):
    # Nothing is checked of what is Any; what may be anything is an object.
    for node, annotation in public_annotations(ast.parse(source.read_text("utf-8"))):
        # An int, as in 2.5; None only where a program said so of its own message.
        if source.name == "message.py" and getattr(node, "name", "") == "mid":
            continue
        names = {getattr(part, "id", "") for part in ast.walk(annotation or node)}
        assert annotation is None or "Any" not in names, f"line {node.lineno}"


def run(program):
    """Return the output of a program in a separate interpreter."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout


def test_importing_imports_the_standard_library_only():
    # paho-mqtt is installed here, and stays where it is.
    program = """
import sys
before = set(sys.modules)
import aiomqtt, aiomqtt.client, aiomqtt.exceptions, aiomqtt.paho, aiomqtt.types
tops = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(tops - sys.stdlib_module_names))
"""
    # The second has what mypyc makes of all compiled modules together.
    assert set(run(program).split()) <= {"aiomqtt", "aiomqtt__mypyc"}


@pytest.mark.parametrize("level", [0, 10, 40])
def test_importing_leaves_the_logger_to_the_program(level):
    program = f"""
import logging
logger = logging.getLogger("mqtt")
logger.setLevel({level})
import aiomqtt
aiomqtt.Client("localhost")
print(logger.level, logger.handlers, logger.propagate)
"""
    assert run(program) == f"{level} [] True\n"


@pytest.mark.parametrize("path", ["aiomqtt", *PATHS, "aiomqtt.protocol.engine"])
def test_every_module_can_be_imported_first(path):
    # No circle of imports shows only in another order.
    assert run(f"import {path}; print('done')") == "done\n"


def test_an_authentication_in_several_steps_is_imported_when_it_is_needed():
    program = """
import sys
import aiomqtt
aiomqtt.Client("localhost", protocol=5)
print(*sorted(name for name in sys.modules if "authentication" in name))
"""
    assert run(program) == "\n"


def test_what_stores_a_session_is_imported_when_it_is_needed():
    program = """
import sys
import aiomqtt
aiomqtt.Client("localhost")
words = ("commits", "durable", "sqlite3", "stores")
print(*sorted(name for name in sys.modules if any(word in name for word in words)))
"""
    assert run(program) == "\n"
