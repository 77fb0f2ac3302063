"""The clients and brokers, and the setup of an environment for each."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from workloads import TRANSPORTS as TRANSPORT_TITLES
from workloads import Workload, is_among

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent
ENVIRONMENTS = HERE / ".envs"
PROGRAMS = HERE / "clients"
BROKER_PROGRAMS = HERE / "brokers"

REFERENCE = "libmosquitto"

TRANSPORTS = tuple(TRANSPORT_TITLES)
# Installed with aiomqtt's extra.
WEBSOCKETS = "websockets==17.4"


class SetUpError(Exception):
    """An environment could not be made; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Client:
    name: str
    how: Literal["checkout", "package", "npm", "bare", "C"]
    program: str
    # The packages for pip or npm (beside the checkout), or options for the C compiler.
    requirement: str = ""
    module: str = ""
    # The share of a workload's messages that it gets: a slow client measures as well
    # with fewer, and the others don't wait for it.
    share: float = 1.0
    # The workloads that it takes part in, as for --workloads; None: all that a client
    # can have.
    workloads: tuple[str, ...] | None = None
    # The versions of MQTT that it speaks, as passed to its program.
    protocols: tuple[int, ...] = (4, 5)
    # The transports that it is measured over, beside TCP in the other workloads.
    transports: tuple[str, ...] = ()
    # Whether it has a call that publishes many messages.
    has_publish_many: bool = False
    # Added to the environment when it is installed and when it runs.
    variables: tuple[tuple[str, str], ...] = ()
    # Whether it runs when --clients doesn't say.
    default: bool = True
    # The directory of its program.
    folder: Path = PROGRAMS

    def has(self, workload: Workload) -> bool:
        """Return whether the client takes part in a workload.

        Where the version is not part of a workload, a client that speaks another one is
        run with that, and its row says so.
        """
        if workload.protocol is not None and workload.protocol not in self.protocols:
            return False
        if workload.transport and workload.transport not in self.transports:
            return False
        return self.workloads is None or is_among(workload, self.workloads)


CLIENTS = (
    # With its defaults: the kernel may merge its small writes (Nagle's algorithm).
    Client(REFERENCE, "C", "mosquitto.c", has_publish_many=True),
    # With TCP_NODELAY, which asyncio sets for each of the other clients.
    Client(
        "libmosquitto-nodelay",
        "C",
        "mosquitto.c",
        "-DNODELAY",
        has_publish_many=True,
        default=False,
    ),
    # As it is installed where there is a C compiler, and where there is none.
    Client(
        "aiomqtt",
        "checkout",
        "run_aiomqtt.py",
        WEBSOCKETS,
        module="aiomqtt",
        transports=TRANSPORTS,
        has_publish_many=True,
        variables=(("AIOMQTT_REQUIRE_COMPILED", "1"),),
    ),
    Client(
        "aiomqtt-pure",
        "checkout",
        "run_aiomqtt.py",
        WEBSOCKETS,
        module="aiomqtt",
        transports=TRANSPORTS,
        has_publish_many=True,
        variables=(("AIOMQTT_PURE", "1"),),
    ),
    # On the event loop that `clients/common.py` takes where it is installed.
    Client(
        "aiomqtt-uvloop",
        "checkout",
        "run_aiomqtt.py",
        f"uvloop==0.23.0 {WEBSOCKETS}",
        transports=TRANSPORTS,
        has_publish_many=True,
        variables=(("AIOMQTT_REQUIRE_COMPILED", "1"),),
    ),
    Client(
        "mqttium",
        "package",
        "run_mqttium.py",
        "mqttium==1.2.1",
        "mqttium.api",
        transports=TRANSPORTS,
    ),
    Client("gmqtt", "package", "run_gmqtt.py", "gmqtt==0.8.0", "gmqtt"),
    Client(
        "aiomqtt-2.5",
        "package",
        "run_aiomqtt.py",
        "aiomqtt==2.5.1 paho-mqtt==2.2.0",
        "aiomqtt",
        share=0.05,
    ),
    # It asks for mqtt5 0.5, of which there is no wheel for Linux: it runs on 0.6 too.
    Client(
        "aiomqtt-3",
        "package",
        "run_aiomqtt3.py",
        "--no-deps aiomqtt==3.0.0a1 mqtt5==0.6.0",
        "aiomqtt",
        protocols=(5,),
    ),
    Client(
        "paho-mqtt",
        "package",
        "run_paho.py",
        "paho-mqtt==2.2.0",
        "paho.mqtt.client",
        share=0.7,
    ),
    Client("zmqtt", "package", "run_zmqtt.py", "zmqtt==0.2.5", "zmqtt", share=0.3),
    # It asks for Python 3.12.
    Client(
        "zenmqtt",
        "package",
        "run_zenmqtt.py",
        "zenmqtt==0.1.0rc6",
        "zenmqtt",
        protocols=(5,),
    ),
    # A thread for each client, as paho-mqtt has.
    Client(
        "ohmqtt",
        "package",
        "run_ohmqtt.py",
        "ohmqtt==1.2.1",
        "ohmqtt",
        share=0.7,
        protocols=(5,),
    ),
    Client(
        "amqtt",
        "package",
        "run_amqtt.py",
        "amqtt==0.12.1",
        "amqtt.client",
        share=0.2,
        protocols=(4,),
    ),
    # It refuses to publish at QoS 2.
    Client(
        "awscrt",
        "package",
        "run_awscrt.py",
        "awscrt==0.38.1",
        "awscrt.mqtt",
        protocols=(4,),
        workloads=("receive*", "publish-qos0*", "publish-qos1*", "client"),
    ),
    # By ctypes, it runs libmosquitto in a thread of the Python process.
    Client(
        "pymosquitto",
        "package",
        "run_pymosquitto.py",
        "pymosquitto==0.4.1",
        "pymosquitto.aio",
        share=0.25,
    ),
    Client(
        "mqtt.js",
        "npm",
        "run_mqttjs.mjs",
        "mqtt@5.16.0",
        transports=("tcp", "tls", "ws", "wss"),
    ),
    Client(
        "bare-asyncio",
        "bare",
        "run_bare.py",
        workloads=(
            "receive-qos*",
            "receive-properties",
            "receive-million",
            "publish-qos0*",
            "publish-qos1*",
            "latency",
        ),
    ),
)


def _broker(name: str, program: str, *, default: bool = True) -> Client:
    """Return a broker in the environment of the client of that name."""
    client = next(client for client in CLIENTS if client.name == name)
    return replace(client, program=program, folder=BROKER_PROGRAMS, default=default)


# Those of `brokers.py`; mosquitto is the system's.
BROKERS = (
    _broker("aiomqtt", "run_aiomqtt.py"),
    _broker("aiomqtt-pure", "run_aiomqtt.py"),
    _broker("aiomqtt-uvloop", "run_aiomqtt.py", default=False),
    _broker("amqtt", "run_amqtt.py"),
    Client("aedes", "npm", "run_aedes.mjs", "aedes@1.2.0", folder=BROKER_PROGRAMS),
)


@dataclass(frozen=True, slots=True)
class Environment:
    """The environment in which a client's programs run."""

    client: Client
    executable: Path  # an interpreter, or the program itself when it is compiled

    def command(self, kind: str) -> list[str] | None:
        """Return the program for a kind of workload; None: nothing to measure."""
        if kind == "publish-many" and not self.client.has_publish_many:
            return None
        if kind == "import":
            if not self.client.module:
                return None
            program = str(PROGRAMS / "import_time.py")
            return [str(self.executable), program, self.client.module]
        if self.client.how == "C":
            return [str(self.executable)]
        if self.client.how == "npm":
            # node looks for packages beside the program.
            program = str(ENVIRONMENTS / self.client.name / self.client.program)
            return [str(self.executable), "--expose-gc", program]
        return [str(self.executable), str(self.client.folder / self.client.program)]


def set_up(client: Client, python: str) -> Environment:
    """Make the client's environment if it isn't there."""
    if client.how == "C":
        return Environment(client, _compile(client))
    if client.how == "bare":
        return Environment(client, Path(python))
    if client.how == "npm":
        return Environment(client, _node_modules(client))
    return Environment(client, _virtual_environment(client, python))


def _run(command: list[str], what: str, **variables: str) -> str:
    try:
        done = subprocess.run(
            command,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError:
        raise SetUpError(f"{what}: {command[0]} is not there") from None
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout).strip().splitlines()
        raise SetUpError("\n  ".join([f"{what} failed:", *lines[-10:]])) from error
    return done.stdout.strip()


def _compile(client: Client) -> Path:
    program = ENVIRONMENTS / client.name
    options = client.requirement.split()
    return compile_program(
        client.program, program, "mosquitto.h", "libmosquitto-dev", "mosquitto", options
    )


def compile_program(
    name: str,
    program: Path,
    header: str,
    package: str,
    library: str,
    options: Sequence[str] = (),
) -> Path:
    """Compile a C program of `clients/`, if it has changed; return where it is.

    Args:
        name: The source.
        program: Where it is to be.
        header: The header of the library that it uses.
        package: Debian's package with that header.
        library: The library.
        options: Further options for the compiler.
    """
    source = PROGRAMS / name
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    if shutil.which("gcc") is None:
        raise SetUpError(f"no gcc; on Debian: apt-get install gcc {package}")
    look = ["gcc", "-E", "-include", header, "-x", "c", os.devnull]
    if subprocess.run(look, capture_output=True, check=False).returncode:
        raise SetUpError(f"no {header}; on Debian: apt-get install {package}")
    program.parent.mkdir(exist_ok=True)
    command = ["gcc", "-O2", *options, "-o", str(program), str(source), f"-l{library}"]
    _run(command, "gcc")
    return program


def _virtual_environment(client: Client, python: str) -> Path:
    """Return the interpreter of the client's environment; make it anew on a change."""
    version = _run(
        [python, "-c", "import sys; print(*sys.version_info[:3], sep='.')"], "python"
    )
    folder = ENVIRONMENTS / f"{client.name}-py{version}"
    stamp = folder / "contents.txt"
    contents = client.requirement
    if client.how == "checkout":
        contents += _checkout_contents()
    interpreter = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if stamp.exists() and stamp.read_text() == contents:
        return interpreter
    if client.how == "checkout" and not (CHECKOUT / "pyproject.toml").exists():
        raise SetUpError(f"{CHECKOUT} has no pyproject.toml")
    print(f"setting up {folder.name}", file=sys.stderr)
    _run([python, "-m", "venv", "--clear", str(folder)], "venv")
    what = client.requirement.split()
    if client.how == "checkout":
        what.append(str(_copy_checkout(folder / "source")))
    pip = [str(interpreter), "-m", "pip", "install", "--disable-pip-version-check"]
    _run([*pip, *what], f"pip install {' '.join(what)}", **dict(client.variables))
    stamp.write_text(contents)
    return interpreter


def _node_modules(client: Client) -> Path:
    """Return node, after copying the client's program beside its packages."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise SetUpError("no node or npm; on Debian: apt-get install nodejs npm")
    folder = ENVIRONMENTS / client.name
    stamp = folder / "contents.txt"
    if not stamp.exists() or stamp.read_text() != client.requirement:
        print(f"setting up {folder.name}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        install = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder)]
        what = client.requirement.split()
        _run([*install, *what], f"npm install {' '.join(what)}")
        stamp.write_text(client.requirement)
    shutil.copy2(client.folder / client.program, folder)
    return Path(node)


def _copy_checkout(folder: Path) -> Path:
    """Copy the files of a build: setuptools would leave `build/` in the checkout."""
    folder.mkdir()
    for file in CHECKOUT.iterdir():
        if file.is_file():
            shutil.copy2(file, folder)
    bytecode = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(CHECKOUT / "src", folder / "src", ignore=bytecode)
    return folder


def _checkout_contents() -> str:
    """Return a digest of the files that an installation of the checkout depends on.

    It is installed as a user would, not in editable mode: so a compiled module that is
    older than its source is never measured.
    """
    digest = hashlib.sha256()
    files = [
        *(CHECKOUT / "src").rglob("*.py"),
        CHECKOUT / "pyproject.toml",
        CHECKOUT / "setup.py",
    ]
    for file in sorted(files):
        if file.exists():
            digest.update(
                file.relative_to(CHECKOUT).as_posix().encode() + file.read_bytes()
            )
    return digest.hexdigest()
