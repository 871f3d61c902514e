"""A Python that has the large packages loaded, for the programs that tests start: each start would take seconds.

`python()` is an executable that takes what ``python`` takes. For ``-m``, ``-c`` and a file it asks a server, which has imported
the packages but nothing of this project and forks: the program runs with the caller's arguments, folder, environment,
standard streams and signals, and its exit status is the caller's. Where the caller is killed, so is the program, a moment
later. The server is started by the first call in a test process, and ends with it.

`make test` asks for it by SLICEAUG_WARM=1; otherwise `python()` is the Python that runs the tests. Not for tests of what a
program imports, of processor time and memory, of which process is whose child, or that kill a program and go on at once.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PACKAGES = (
    "pandas nibabel pydantic jinja2 psutil matplotlib.pyplot blosc2 scipy.ndimage scipy.signal scipy.stats "
    "skimage.morphology skimage.measure torch torch._dynamo safetensors.torch lightning.fabric monai "
    "nnunetv2.training.nnUNetTrainer.nnUNetTrainer efficientnet_lite_pytorch snakemake.cli snakemake.api"
)
"""What programs of the project import; a package more or less changes speed alone."""

# The client: as little as a start of Python can be. What it cannot do, the real Python does.
CLIENT = """#!{real} -IS
import array, json, os, signal, socket, sys
words = sys.argv[1:]
if not words or words[0].startswith("-") and words[0] not in ("-m", "-c") or len(words) < 2 and words[0].startswith("-"):
    os.execv({real!r}, [{real!r}, *words])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
request = json.dumps([words, os.getcwd(), dict(os.environ), sys.argv[0]]).encode()
streams = array.array("i", [0, 1, 2])
server.sendmsg([len(request).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
server.sendall(request)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, lambda number, frame: server.sendall(bytes([number])))
status = int.from_bytes(server.recv(4), "big", signed=True)
if status < 0:
    if status != -signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
"""


@functools.cache
def python() -> str:
    """The executable; its server runs until this process ends."""
    if os.environ.get("SLICEAUG_WARM") != "1":
        return sys.executable
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    address, client = str(folder / "socket"), folder / "python"
    client.write_text(CLIENT.format(real=sys.executable, address=address))
    client.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with (folder / "log").open("w") as log:
        command = [sys.executable, __file__, address, client]
        server = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.kill)
    while not Path(address).exists():
        assert server.poll() is None, (folder / "log").read_text()
        time.sleep(0.05)
    return str(client)


def _serve(address: str, client: str) -> None:
    """Load, then fork for each caller; in a program's process this returns, and what it runs is in sys.argv."""
    import gc
    import importlib

    sys.path[:] = [entry for entry in sys.path if Path(entry) != Path(__file__).parent]
    for package in PACKAGES.split():
        importlib.import_module(package)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes that wait for programs
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address + ".new")
        server.listen(64)
        Path(address + ".new").rename(address)
        while True:
            caller, _ = server.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                server.close()
                return _attend(caller, client)
            caller.close()


def _attend(caller: socket.socket, client: str) -> None:
    """Start what a caller asks for, pass its signals on, and tell it the status."""
    import json
    import select

    length, streams, _, _ = socket.recv_fds(caller, 4, 3)
    text, left = b"", int.from_bytes(length, "big")
    while len(text) < left:
        text += caller.recv(left - len(text))
    words, folder, environment, called = json.loads(text)
    program = os.fork()
    if program == 0:
        caller.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return _become(words, folder, environment, called)
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(program)
    while True:
        ready, _, _ = select.select([caller, ended], [], [])
        if ended in ready:
            status = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
            with contextlib.suppress(OSError):  # the caller may have been killed just now
                caller.sendall(status.to_bytes(4, "big", signed=True))
            os._exit(0)
        sent = caller.recv(1)
        os.kill(program, sent[0] if sent else signal.SIGKILL)
        if not sent:
            os.waitpid(program, 0)
            os._exit(0)


def _become(words: list[str], folder: str, environment: dict[str, str], called: str) -> None:
    """Make this process the one that was asked for, as far as a program can tell."""
    import random

    import numpy as np

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    random.seed()  # as a new process has it
    np.random.seed()  # noqa: NPY002
    sys.executable = called
    first = "" if words[0] in ("-m", "-c") else str(Path(words[0]).resolve().parent)
    given = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [str(Path.cwd()) if words[0] == "-m" else first, *filter(None, given)]
    sys.argv = words


def _run(words: list[str]) -> None:
    import runpy

    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        exec(words[1], {"__name__": "__main__"})
    else:
        runpy.run_path(words[0], run_name="__main__")


def _main() -> None:
    """As the interpreter ends a program, but for the taking down of every package, which takes longer than many programs."""
    import threading

    _serve(*sys.argv[1:])
    try:
        _run(sys.argv)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if status and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _main()
