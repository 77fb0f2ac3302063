"""Builds the hot modules with mypyc, from the same source that runs uncompiled.

If that is impossible (no C compiler, no mypyc), the package still installs and runs
from source. AIOMQTT_PURE=1 selects the source; AIOMQTT_REQUIRE_COMPILED=1 makes a build
that can't compile an error, for building wheels.
"""

import ast
import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MYPY = "mypy==2.4.1"

SOURCE = Path("src")
# The modules that run for each message. There are no others, since compiled modules use
# more memory. Calls between these are C calls. None of them waits (see
# CONTRIBUTING.md).
HOT = (
    "aiomqtt/client/calls.py",
    "aiomqtt/client/deadlines.py",
    "aiomqtt/client/publication.py",
    "aiomqtt/client/receipt.py",
    "aiomqtt/client/waiters.py",
    "aiomqtt/client/waiting.py",
    "aiomqtt/client/window.py",
    "aiomqtt/client/write_queue.py",
    "aiomqtt/message.py",
    "aiomqtt/net/coalescing.py",
    "aiomqtt/net/driver.py",
    "aiomqtt/net/owner.py",
    "aiomqtt/net/packet_log.py",
    "aiomqtt/net/progress.py",
    "aiomqtt/net/reading.py",
    "aiomqtt/net/sink.py",
    "aiomqtt/net/timer.py",
    "aiomqtt/net/unread.py",
    "aiomqtt/net/websocket/frames.py",
    "aiomqtt/net/writer.py",
    "aiomqtt/net/writing.py",
    "aiomqtt/protocol/codec/encoded.py",
    "aiomqtt/protocol/codec/fast.py",
    "aiomqtt/protocol/codec/properties.py",
    "aiomqtt/protocol/codec/size.py",
    "aiomqtt/protocol/codec/framing.py",
    "aiomqtt/protocol/acknowledgements.py",
    "aiomqtt/protocol/aliases.py",
    "aiomqtt/protocol/changes.py",
    "aiomqtt/protocol/counts.py",
    "aiomqtt/protocol/negotiated.py",
    "aiomqtt/protocol/deliveries.py",
    "aiomqtt/protocol/delivery.py",
    "aiomqtt/protocol/dropped.py",
    "aiomqtt/protocol/engine.py",
    "aiomqtt/protocol/engine_calls.py",
    "aiomqtt/protocol/identifiers.py",
    "aiomqtt/protocol/inbound.py",
    "aiomqtt/protocol/keepalive.py",
    "aiomqtt/protocol/outbound.py",
    "aiomqtt/protocol/output.py",
    "aiomqtt/protocol/packets.py",
    "aiomqtt/protocol/requests.py",
    "aiomqtt/protocol/session.py",
    "aiomqtt/protocol/wire.py",
    "aiomqtt/stores/sqlite/group.py",
    "aiomqtt/stores/sqlite/index.py",
    "aiomqtt/stores/sqlite/rows.py",
    "aiomqtt/stores/sqlite/runs.py",
    "aiomqtt/streams/copies.py",
    "aiomqtt/streams/custom_queue.py",
    "aiomqtt/streams/discarding_stream.py",
    "aiomqtt/streams/filter_table.py",
    "aiomqtt/streams/iterator.py",
    "aiomqtt/streams/replies.py",
    "aiomqtt/streams/routed.py",
    "aiomqtt/streams/router.py",
    "aiomqtt/streams/shared_ack.py",
    "aiomqtt/streams/stream.py",
    "aiomqtt/streams/turns.py",
)
# The same for the broker, in a separate library, as most programs never load it.
HOT_IN_BROKER = (
    "aiomqtt/broker/core/state.py",
    "aiomqtt/broker/core/subscribe_handlers.py",
    "aiomqtt/broker/core/journal.py",
    "aiomqtt/broker/core/memory_account.py",
    "aiomqtt/broker/core/message.py",
    "aiomqtt/broker/core/send_buffer.py",
    "aiomqtt/broker/core/slow_subscriber.py",
    "aiomqtt/broker/core/connection.py",
    "aiomqtt/broker/core/dispatch.py",
    "aiomqtt/broker/core/distribution.py",
    "aiomqtt/broker/core/inbound_packets.py",
    "aiomqtt/broker/core/packet_in_progress.py",
    "aiomqtt/broker/core/pending_retained.py",
    "aiomqtt/broker/core/publish_handlers.py",
    "aiomqtt/broker/core/retained.py",
    "aiomqtt/broker/core/session.py",
    "aiomqtt/broker/core/session_record.py",
    "aiomqtt/broker/core/client_timeout.py",
    "aiomqtt/broker/statistics.py",
    "aiomqtt/broker/core/subscription.py",
    "aiomqtt/broker/core/subscriptions.py",
    "aiomqtt/broker/core/timers.py",
    "aiomqtt/broker/core/turn.py",
    "aiomqtt/routing/trie.py",
)
GROUPS = {"aiomqtt": HOT, "aiomqtt_broker": HOT_IN_BROKER}
# Compiled classes whose instances accept attributes and weak references, by their C
# names.
OPEN_CLASSES = {
    "aiomqtt": ("message___Message", "packets___Publish"),
    "aiomqtt_broker": (),
}
# Of these, those of which a program makes no instances.
UNFOLLOWED_CLASSES = {
    "aiomqtt": ("packets___Publish",),
    "aiomqtt_broker": (),
}
# Compiled classes that only hold what can't hold them. Many of them wait for a commit.
ACYCLIC_CLASSES = {
    "aiomqtt": ("changes___Change", "changes___StoredDelivery"),
    "aiomqtt_broker": (),
}


# Options for gcc and clang.
CFLAGS = (
    # Hidden symbols: calls within the group bypass the dynamic linker.
    "-fvisibility=hidden",
    # In a file of 200,000 lines, gcc takes longer for this warning than to compile.
    "-Wno-misleading-indentation",
)


def is_set(variable: str) -> bool:
    return os.environ.get(variable, "") not in ("", "0")


def missing_compiler() -> str:
    """Return the compiler that Python was built with if it is missing; never MSVC."""
    if sys.platform == "win32":
        return ""
    command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    name = command.split()[0]
    return "" if shutil.which(name) else name


class BuildHot(build_ext):
    """Compiles all of the hot modules or none of them."""

    def run(self) -> None:
        # In editable mode edits must take effect: compile nothing.
        if self.editable_mode:
            return
        command = build_ext(self.distribution)
        command.build_lib = self.build_lib
        command.build_temp = self.build_temp
        command.inplace = self.inplace
        try:
            if missing_compiler():
                msg = f"there is no C compiler ({missing_compiler()})"
                raise FileNotFoundError(msg)
            self.distribution.ext_modules = compile_to_c()
            command.ensure_finalized()
            command.run()
        # mypyc reports errors by SystemExit.
        except (Exception, SystemExit) as error:
            if is_set("AIOMQTT_REQUIRE_COMPILED"):
                raise
            if command.finalized:
                for name in command.get_outputs():
                    Path(name).unlink(missing_ok=True)
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            print(
                f"aiomqtt: not compiled, it will run from its source: {reason}",
                file=sys.stderr,
            )


def compile_to_c() -> list[Extension]:
    from mypyc.build import mypycify

    extensions: list[Extension] = []
    # Compile them separately: in groups that know each other, calls are slower.
    for group, names in GROUPS.items():
        extensions += mypycify(
            # Use separate options: an error of mypy's strict rules must not stop a
            # build.
            [
                "--config-file=",
                "--python-version=3.11",
                # Optional dependencies, which a build does not install.
                "--ignore-missing-imports",
                *(str(SOURCE / name) for name in names),
            ],
            opt_level="2",
            debug_level="0",
            group_name=group,
        )
    if sys.platform != "win32":
        for extension in extensions:
            # The list is that of all extensions.
            extension.extra_compile_args = [*extension.extra_compile_args, *CFLAGS]
    for group, names in GROUPS.items():
        [source] = (
            Path(name)
            for extension in extensions
            for name in extension.sources
            if Path(name).name == f"__native_{group}.c"
        )
        text = source.read_text(encoding="utf-8")
        text = with_docstrings(text, names)
        for name in OPEN_CLASSES[group]:
            text = opened(text, name)
        for name in UNFOLLOWED_CLASSES[group]:
            text = unfollowed(text, name)
        for name in ACYCLIC_CLASSES[group]:
            text = changed(text, name, (UNTRACK,))
        source.write_text(text, encoding="utf-8")
    return extensions


# --- attributes and weak references, which mypyc doesn't support ------------------

# Behind the struct of an instance: a pointer to its __dict__ and one to its weak
# references. In an instance that has neither, both are NULL and only cost a check.
OPENINGS = (
    (
        r"(?P<before>\.tp_basicsize = )sizeof\({struct}\),",
        r"""\g<before>sizeof({struct}) + 2 * sizeof(PyObject *),
    .tp_dictoffset = sizeof({struct}),
    .tp_weaklistoffset = sizeof({struct}) + sizeof(PyObject *),""",
    ),
    (
        r"(?P<before>static PyGetSetDef {name}_getseters\[\] = \{{)",
        r"""\g<before>
    {{"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL}},""",
    ),
    (
        r"(?P<before>{name}_traverse\({struct} \*self, [^)]*\)\s*\{{)",
        r"""\g<before>
    Py_VISIT(*(PyObject **)(self + 1));""",
    ),
    (
        r"(?P<before>CPyDef_{name}_clear\([^)]*\)\s*\{{\s*{struct} \*self = [^;]*;)",
        r"""\g<before>
    Py_CLEAR(*(PyObject **)(self + 1));""",
    ),
    (
        r"(?P<before>{name}_dealloc\([^)]*\)\s*\{{\s*PyObject_GC_UnTrack\(self\);)",
        r"""\g<before>
    if (((PyObject **)(self + 1))[1] != NULL)
        PyObject_ClearWeakRefs((PyObject *)self);""",
    ),
)

# A new instance is not followed by the garbage collector.
UNTRACK = (
    r"(?P<before>self = \({struct} \*\)type->tp_alloc\(type, 0\);\s*)(?=if \(self)",
    r"""\g<before>if (self != NULL)
        PyObject_GC_UnTrack(self);
    """,
)

# Messages that are received hold nothing that could hold them, until a program sets an
# attribute or looks at the __dict__: only then the garbage collector has to follow
# them. To follow them all would be a fifth of what it takes to receive one.
UNFOLLOWED = (
    (
        r"(?P<before>static PyGetSetDef {name}_getseters\[\] = \{{)",
        r"""static PyObject *{name}_followed(PyObject *self)
{{
    if (!PyObject_GC_IsTracked(self))
        PyObject_GC_Track(self);
    return self;
}}
static PyObject *{name}_get_dict(PyObject *self, void *context)
{{
    return PyObject_GenericGetDict({name}_followed(self), context);
}}
static int {name}_setattro(PyObject *self, PyObject *attribute, PyObject *value)
{{
    return PyObject_GenericSetAttr({name}_followed(self), attribute, value);
}}
\g<before>""",
    ),
    (
        r"(?P<before>{name}_getseters\[\] = \{{\s*\{{.__dict__., )\w+",
        r"\g<before>{name}_get_dict",
    ),
    (
        r"(?P<before>\.tp_getset = {name}_getseters,)",
        r"""\g<before>
    .tp_setattro = {name}_setattro,""",
    ),
    UNTRACK,
)


def opened(text: str, name: str) -> str:
    """Return mypyc's C code with these two pointers in the instances of a class."""
    return changed(text, name, OPENINGS)


def unfollowed(text: str, name: str) -> str:
    """Return mypyc's C code, opened, with instances that need not be followed."""
    return changed(text, name, UNFOLLOWED)


def changed(text: str, name: str, changes: tuple[tuple[str, str], ...]) -> str:
    """Return mypyc's C code with changes to a class, each of them made once."""
    found = re.search(rf"^\s*{name}_dealloc\((\w+) \*self\)$", text, re.MULTILINE)
    if found is None:
        msg = f"mypyc's C code has no class {name}"
        raise ValueError(msg)
    for pattern, replacement in changes:
        text, count = re.subn(
            pattern.format(name=name, struct=found[1]),
            replacement.format(name=name, struct=found[1]),
            text,
        )
        if count != 1:
            msg = f"mypyc's C code of {name} has {count} of {pattern}"
            raise ValueError(msg)
    return text


# --- docstrings: mypyc writes only signatures ------------------------------------

# A class, a function or method, and a property, as mypyc writes them in C.
IN_C = re.compile(
    r"""
    (?P<head>
        PyTypeObject\ CPyType_(?P<type>\w+)_template_\ =\ \{
            [^}]*? \.tp_doc\ =\ PyDoc_STR\(
      | \(PyCFunction\)CPyPy_(?P<function>\w+),\s+[\w\ |]+,\s+PyDoc_STR\(
      | \(getter\)(?P<type_of>\w+?)_get_(?P<property>\w+),[^,}]*,\s+(?=NULL)
    )
    (?P<signature>"(?:[^"\\]|\\.)*"|NULL)
    """,
    re.VERBOSE,
)


def with_docstrings(text: str, names: tuple[str, ...]) -> str:
    """Return mypyc's C code with the docstrings of the modules that it compiled."""
    found: dict[str, str] = {}
    for name in names:
        tree = ast.parse((SOURCE / name).read_text(encoding="utf-8"))
        collect_docstrings(tree, name.removesuffix(".py").split("/"), found)

    def documented(match: re.Match[str]) -> str:
        name = match["type"] or match["function"]
        if match["property"]:
            name = f"{match['type_of']}___{match['property']}"
        doc = found.get(name)
        if doc is None:
            return match[0]
        # Use octal escapes: C reads at most three digits of one.
        literal = "".join(
            chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}"
            for byte in doc.encode()
        )
        if match["property"]:
            return f'{match["head"]}PyDoc_STR("{literal}")'
        signature = match["signature"].removeprefix("NULL")
        return f'{match["head"]}{signature} "{literal}"'

    return IN_C.sub(documented, text)


def collect_docstrings(node: ast.AST, path: list[str], found: dict[str, str]) -> None:
    """Collect the docstrings below a node, by each name that mypyc may use for it in C.

    mypyc shortens the path from the beginning, as long as it stays unique.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [*path, child.name]
            doc = ast.get_docstring(child)
            if doc:
                for start in range(len(inner)):
                    found["___".join(inner[start:])] = doc
            collect_docstrings(child, inner, found)


is_wanted = not is_set("AIOMQTT_PURE")
setup(
    # Empty until it is known whether they can be compiled.
    ext_modules=[
        Extension(name.removesuffix(".py").replace("/", "."), [str(SOURCE / name)])
        for names in GROUPS.values()
        for name in names
    ]
    if is_wanted
    else [],
    setup_requires=[MYPY] if is_wanted and not missing_compiler() else [],
    cmdclass={"build_ext": BuildHot},
)
