"""How much memory something took, for tests that bound it."""

from __future__ import annotations

from pathlib import Path


class Peak:
    """The process's largest resident memory since it was made, beyond what it had then."""

    def __init__(self):
        Path("/proc/self/clear_refs").write_text("5")  # the kernel's watermark starts again from the present size
        self.before = self._watermark()

    def mib(self) -> float:
        return (self._watermark() - self.before) / 1024

    @staticmethod
    def _watermark() -> int:
        """KiB."""
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
        raise OSError("the kernel keeps no VmHWM")
