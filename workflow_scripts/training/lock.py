"""One writer a folder, on one machine and on many that share a file system.

Two locks, since neither is enough. The kernel's (flock) ends with the process that holds it, however that ends; but some
cluster file systems keep it on each node by itself. So the holder also writes who it is into the lock file and touches
it every few seconds: a holder on another host is alive as long as that goes on. No clocks are compared: a watcher looks
whether the time stamp moves. Who writes into it makes a file beside it first, the gate, which one alone can make at a time
(open(2), O_EXCL: on NFS too): of many that find the lock free one has it, however long the others are held up in between.
"""

import errno
import fcntl
import json
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from ..base import allocation
from ..base.cli import log
from ..base.errors import UserError

BEAT_SECONDS = 5.0
MISSED_BEATS = 6  # a holder on another host that has not moved for so many is gone
SECOND_LOOK_SECONDS = 1.0
GATE_SECONDS = 10.0  # a gate is there for milliseconds: one that is older was left by a process that was killed
RECORD_BYTES = 512  # more than the names of a host and a job take
LOCAL = {
    "ext2",
    "ext3",
    "ext4",
    "xfs",
    "btrfs",
    "zfs",
    "f2fs",
    "tmpfs",
    "overlay",
}  # where the kernel's lock is for all
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


class FolderLock:
    """Holds the file `path` until `release`.

    Raises UserError if another process holds it for longer than `wait_seconds`. In a cluster job the wait has no end
    but the job's: a job that Snakemake lost sight of makes the same files, and its replacement then finds them.
    """

    def __init__(self, path: Path, wait_seconds: float):
        self.path = path
        self.me = {"host": socket.gethostname(), "process": os.getpid(), "job": allocation.job_id()}
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b", buffering=0)
        self._released = threading.Event()
        self._gate = path.with_name(f"{path.name}.gate")
        self._gate_seen: tuple[int, float] = (0, 0.0)  # inode, and since when
        patience = float("inf") if self.me["job"] else wait_seconds
        started = said = time.monotonic()
        while not self._try():
            now = time.monotonic()
            if now - started > patience:
                self._file.close()
                raise UserError(
                    f"{path.parent} is in use by {_name(self._holder())}, which trains the same network; "
                    "wait for it to end, or stop it, then run the same command again"
                )
            if now - said > 60 or said == started:
                log.info("%s is in use by %s: waiting for it to end", path.parent, _name(self._holder()))
                said = now
            time.sleep(0.2)
        threading.Thread(target=self._beat, daemon=True).start()

    def release(self) -> None:
        """Let go: the next one need not look whether this holder is alive."""
        if not self._released.is_set():
            self._released.set()
            self._file.truncate(0)
            self._file.close()

    def _try(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            kernel = True
        except OSError as error:
            if error.errno not in NO_LOCKS:
                return False
            kernel = False
        holder = self._holder()
        if holder and not (kernel and holder["host"] == self.me["host"]):
            if self._moves():
                if kernel:
                    fcntl.flock(self._file, fcntl.LOCK_UN)
                return False
            log.info("%s: taken over from %s, which is gone", self.path.parent, _name(holder))
        if kernel and _is_local(self.path):
            self._write()
            return True
        if self._write_unless_taken(holder):
            time.sleep(SECOND_LOOK_SECONDS)  # where gates do not hold, the last one to write has it
            if self._holder() == self.me:
                return True
        if kernel:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        return False

    def _write(self) -> None:
        # in one piece over what is there: of many that write at once one stands in the file, whole
        os.pwrite(self._file.fileno(), json.dumps(self.me).ljust(RECORD_BYTES).encode(), 0)
        os.fsync(self._file.fileno())

    def _write_unless_taken(self, before: dict | None) -> bool:
        """Write who holds it, if that is still `before`."""
        try:
            os.close(os.open(self._gate, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
        except FileExistsError:
            self._sweep_gate()
            return False
        try:
            if self._holder() != before:
                return False
            self._write()
            return True
        finally:
            self._gate.unlink(missing_ok=True)

    def _sweep_gate(self) -> None:
        """Remove the gate where this process has seen the same one for too long."""
        with suppress(FileNotFoundError):
            inode, now = self._gate.stat().st_ino, time.monotonic()
            if inode != self._gate_seen[0]:
                self._gate_seen = (inode, now)
            elif now - self._gate_seen[1] > GATE_SECONDS:
                self._gate.unlink()

    def _holder(self) -> dict | None:
        """Who wrote the file last; None if it was let go, or never held."""
        try:
            return json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _moves(self) -> bool:
        first = self._stamp()
        deadline = time.monotonic() + MISSED_BEATS * BEAT_SECONDS
        while time.monotonic() < deadline:
            time.sleep(min(0.5, BEAT_SECONDS))
            if self._stamp() != first:
                return True
        return False

    def _stamp(self) -> tuple[int, int]:
        with self.path.open("rb") as file:  # opening asks the server: a network file system caches what stat says
            status = os.fstat(file.fileno())
        return status.st_mtime_ns, status.st_size

    def _beat(self) -> None:
        while not self._released.wait(BEAT_SECONDS):
            try:
                os.utime(self._file.fileno())
            except (OSError, ValueError):  # the disk is full or away: the training itself will say so
                continue


def _is_local(path: Path) -> bool:
    """Whether no other machine sees the file system of `path`, as far as the kernel's table of mounts can tell."""
    device = path.stat().st_dev
    try:
        rows = [line.split() for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return False
    kinds = {row[row.index("-") + 1] for row in rows if row[2] == f"{os.major(device)}:{os.minor(device)}"}
    return bool(kinds) and kinds <= LOCAL


def wait_for_job(path: Path) -> None:
    """Wait until a process of this process's own cluster job holds the lock file `path`."""
    while True:
        try:
            if json.loads(path.read_text(encoding="utf-8"))["job"] == allocation.job_id():
                return
        except (OSError, ValueError, KeyError):
            pass
        time.sleep(0.2)


def _name(holder: dict | None) -> str:
    if not holder:
        return "another process"
    job = f" (Slurm job {holder['job']})" if holder.get("job") else ""
    return f"process {holder['process']} on {holder['host']}{job}"
