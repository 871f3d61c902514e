"""Asking `make status` in a test, and reading its table."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def status(project: Path, *options: str) -> subprocess.CompletedProcess:
    """Run the program; torch may not be imported on the way."""
    code = (
        "import runpy, sys; sys.argv = ['status', *sys.argv[1:]]\n"
        "try: runpy.run_module('workflow_scripts.programs.operations.status', run_name='__main__')\n"
        "finally: assert 'torch' not in sys.modules"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *options], cwd=project, capture_output=True, text=True, timeout=300
    )


def stages(text: str) -> dict[str, dict[str, int]]:
    """The table of a status as stage -> state -> jobs."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("stage "))
    names = re.split(r" {2,}", lines[start])[1:]
    found = {}
    for line in lines[start + 1 :]:
        if not line:
            break
        cells = re.split(r" {2,}", line)
        if len(cells) == len(names) + 1:
            found[cells[0]] = {
                name: 0 if cell == "-" else int(cell) for name, cell in zip(names, cells[1:], strict=True)
            }
    return found
