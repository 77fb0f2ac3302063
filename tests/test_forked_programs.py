"""Forked programs run, and end, as if they had been started."""

import os
import signal
import sys

import pytest

from tests.forked_programs import ForkedProgram, run


def test_a_text_a_module_and_a_file(tmp_path):
    show = "import sys; print(__name__, sys.argv, sys.path[0])"
    file = tmp_path / "program.py"
    file.write_text(show)
    assert run("-c", show, 1, "b").stdout == "__main__ ['-c', '1', 'b'] \n"
    assert run(file, "a").stdout == f"__main__ {[str(file), 'a']} {tmp_path}\n"
    assert run("-m", "aiomqtt", "--version").stdout.startswith("aiomqtt ")


def test_input_output_and_environment():
    program = """
import os, sys
print(sys.stdin.read(), os.environ)
print("e", file=sys.stderr)
"""
    done = run("-c", program, text="text", env={"A": "b"})
    assert (done.stdout, done.stderr) == ("text environ({'A': 'b'})\n", "e\n")
    assert run("-c", "import sys; print(sys.stdin.read())").stdout == "\n"
    shown = run("-c", "import os; print(os.environ['PATH'])").stdout
    assert shown == f"{os.environ['PATH']}\n"


@pytest.mark.parametrize(
    ("program", "code", "says"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("import os; os.kill(os.getpid(), 2)", -signal.SIGINT, "KeyboardInterrupt\n"),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL, ""),
        ("import warnings; warnings.warn('this')", 1, "UserWarning: this\n"),
        # What the interpreter says at its end.
        ("import asyncio; a = asyncio.sleep(1)", 0, "was never awaited\n"),
        ("import socket; s = socket.socket()", 0, "laddr=('0.0.0.0', 0)>\n"),
    ],
)
def test_its_end(program, code, says):
    done = run("-c", program)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.endswith(says)
    assert bool(done.stderr) == bool(says)


def test_a_submodule_has_to_be_imported():
    done = run("-c", "import aiomqtt; print(aiomqtt.broker)")
    assert "has no attribute 'broker'" in done.stderr


def test_it_runs_until_it_is_ended(tmp_path):
    with (tmp_path / "output").open("wb") as output:
        program = ForkedProgram(
            "-c", "import time; time.sleep(60)", stdout=output, stderr=output
        )
    assert program.pid != os.getpid()
    assert program.poll() is None
    with pytest.raises(TimeoutError):
        program.wait(0.01)
    program.send_signal(signal.SIGTERM)
    assert program.wait(20) == -signal.SIGTERM
    # Afterwards, nothing happens.
    program.kill()
    assert program.poll() == program.returncode == -signal.SIGTERM


def test_each_chooses_at_random_for_itself():
    program = "import random, uuid; print(random.random(), uuid.uuid4())"
    assert run("-c", program).stdout != run("-c", program).stdout


def test_it_is_this_python():
    assert run("-c", "import sys; print(sys.version)").stdout == f"{sys.version}\n"
