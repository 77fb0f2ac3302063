"""An interpreter that forks programs, having imported what they import.

    python forking_interpreter.py FD

Each packet from the socket FD is a program: a JSON object with its `arguments`, as the
interpreter takes them ("-c", "-m" or a file first), its `directory` and `environment`.
With it come its standard input, output and error, and a pipe that is told its process
identifier and, when it has ended, its exit code: two numbers of four bytes.

A program ends as one that was started: by the end of the interpreter, with what that
says of coroutines and sockets that were left.
"""

import asyncio  # noqa: F401 (for the programs, as others here)
import gc
import json
import logging
import os
import runpy
import signal
import socket
import sqlite3  # noqa: F401
import ssl  # noqa: F401
import sys
import types
from pathlib import Path
from typing import Any

# None of its modules that a program has to import itself.
import aiomqtt  # noqa: F401

LARGEST = 1 << 20  # bytes


def next_program(requests: socket.socket) -> dict[str, Any]:
    """Fork for each request; return its program in the process that is to run it."""
    gc.freeze()
    running: list[int] = []
    while True:
        request, files, _, _ = socket.recv_fds(requests, LARGEST, 4)
        # Those that have waited for a program; at the end, all of them.
        options = os.WNOHANG if request else 0
        running = [pid for pid in running if os.waitpid(pid, options)[0] == 0]
        if not request:
            sys.exit()
        if pid := os.fork():
            running.append(pid)
        else:
            requests.close()
            become(*files)
            program: dict[str, Any] = json.loads(request)
            return program
        for file in files:
            os.close(file)


def become(*files: int) -> None:
    """Fork the program, and return in it, with its files; tell when it has ended."""
    *standard, told = files
    if pid := os.fork():
        for file in (*range(3), *standard):
            os.close(file)
        os.write(told, pid.to_bytes(4))
        _, status = os.waitpid(pid, 0)
        os.write(told, os.waitstatus_to_exitcode(status).to_bytes(4, signed=True))
        os._exit(0)
    os.close(told)
    for number, file in enumerate(standard):
        os.dup2(file, number)
        os.close(file)
    # Where it is ignored, as in a job in the background, a program would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run(first: str, *arguments: str) -> None:
    """Run what the arguments say, as `__main__`."""
    sys.argv = [first, *arguments]
    if first == "-c":
        sys.argv[:2] = [first]
        sys.path[0] = ""
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        exec(compile(arguments[0], "<string>", "exec"), module.__dict__)
    elif first == "-m":
        del sys.argv[0]
        sys.path[0] = str(Path.cwd())
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(first).absolute().parent)
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    program = next_program(socket.socket(fileno=int(sys.argv[1])))
    os.chdir(program["directory"])
    os.environ.clear()
    os.environ.update(program["environment"])
    # A machine that is busy is not the program's fault.
    logging.getLogger("asyncio").addFilter(
        lambda record: not record.getMessage().startswith("Executing ")
    )
    run(*program["arguments"])
