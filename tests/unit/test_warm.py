"""The warm Python of the tests is to a program what Python is."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import warm

CODE = """
import json, os, sys
print(json.dumps([sys.argv[1:], os.getcwd(), os.environ.get("WORD"), sys.path[:2], __name__, sys.stdin.read()]))
print("said", file=sys.stderr)
sys.exit({"none": None, "text": "a sentence", "seven": 7}[sys.argv[1]])
"""


@pytest.mark.parametrize("how", ["-c", "-m", "file"])
@pytest.mark.parametrize("end", ["none", "text", "seven", "no such key"])
def test_a_program_runs_as_by_python(tmp_path, how, end):
    (tmp_path / "thing.py").write_text(CODE)
    words = {"-c": ["-c", CODE], "-m": ["-m", "thing"], "file": [str(tmp_path / "thing.py")]}[how]
    run = {"cwd": tmp_path, "env": os.environ | {"WORD": "x", "PYTHONPATH": "/given"}, "input": "typed"}
    found, expected = (
        subprocess.run([python, *words, end, "b c"], text=True, capture_output=True, **run)
        for python in (warm.python(), sys.executable)
    )
    assert json.loads(found.stdout) == json.loads(expected.stdout) and found.returncode == expected.returncode
    assert found.stderr.splitlines()[0] == "said" and found.stderr.splitlines()[-1] == expected.stderr.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_as_its_program_and_its_program_with_it(number):
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    process = subprocess.Popen([warm.python(), "-c", code], stdout=subprocess.PIPE, text=True)
    program = int(process.stdout.readline())
    process.send_signal(number)
    assert process.stdout.read() == "", "it is gone, and nothing writes any more"
    assert process.wait() == -number
    until = time.monotonic() + 10
    with contextlib.suppress(psutil.NoSuchProcess):  # or nobody has asked for its status yet
        while psutil.Process(program).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < until
            time.sleep(0.01)


def test_a_program_that_ends_itself_is_seen_to():
    for number in (signal.SIGKILL, signal.SIGABRT):
        code = f"import os; os.kill(os.getpid(), {int(number)})"
        assert subprocess.run([warm.python(), "-c", code]).returncode == -number
