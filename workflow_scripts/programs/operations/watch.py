"""Run Snakemake and show one line a stage, with a bar and the time left, in place of its thousands of lines.

  python -m workflow_scripts.programs.operations.watch --cores all --config data_root=/data/patients

All options are Snakemake's own, and so is the exit status. On a terminal the lines move; in a log, those that have changed are
written each minute and at a stage's end. All that Snakemake and the jobs print is in a file, whose path comes first.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from workflow_scripts.base.cli import run_program
from workflow_scripts.operations.plan import with_project
from workflow_scripts.operations.run_events import EVENTS, FAILED, Run, read_run, read_runs
from workflow_scripts.operations.stage_lines import ENDED, expected_seconds, fitted, line_text, stage_lines, total_text
from workflow_scripts.operations.status_text import failed_lines, tail, use_colours
from workflow_scripts.operations.study_state import Job

COSTS = "SLICEAUG_EARLIER_COSTS"  # in the environment: tables/cost.csv of an earlier study of this config
LOG_SECONDS = 60.0


class Screen:
    """Lines that move on a terminal; elsewhere those that have changed, now and then."""

    def __init__(self, moving: bool):
        self.moving, self.shown, self.drawn, self.last = moving, {}, 0, 0.0

    def show(self, lines: list[str], now: float, ended: bool) -> None:
        if self.moving:
            up = f"\033[{self.drawn}F" if self.drawn else ""
            sys.stderr.write(up + "".join(f"\033[K{fitted(line)}\n" for line in lines))
            self.drawn = len(lines)
        elif now - self.last >= LOG_SECONDS or ended or self._newly_ended(lines):
            self.last = now
            for place, line in enumerate(lines):
                if self.shown.get(place) != line:
                    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr)
            self.shown = dict(enumerate(lines))
        sys.stderr.flush()

    def _newly_ended(self, lines: list[str]) -> bool:
        return any(line.endswith(ENDED) and self.shown.get(place) != line for place, line in enumerate(lines))


def _draw(screen: Screen, run: Run, earlier: list[Run], workdir: Path, ended: bool) -> None:
    now = time.time()
    table = Path(os.environ[COSTS]) if os.environ.get(COSTS) else None
    lines = stage_lines(run, expected_seconds(run, earlier, table), workdir, now)
    width = max((len(line.stage) for line in lines), default=0)
    screen.show([*(line_text(line, width) for line in lines), total_text(lines, run, now)], now, ended)


def _say_why(run: Run | None, log: Path, workdir: Path) -> None:
    """What failed, or the end of what Snakemake wrote where no job did."""
    failed = [(path, noted) for path, noted in (run.jobs.items() if run else ()) if noted.state == FAILED]
    for path, noted in failed:
        first, *others = failed_lines(Job(noted.rule, path, False, FAILED, noted), workdir)
        print("\n".join([f"failed: {first}", *(f"    {line}" for line in others)]), file=sys.stderr)
    if not failed:
        print("\n".join(tail(log)[-12:]), file=sys.stderr)
    print(f"All that was written: {log}", file=sys.stderr)


def main(argv: list[str] | None = None) -> None:
    options = sys.argv[1:] if argv is None else argv
    if options[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return
    workdir, earlier = Path.cwd(), read_runs(Path.cwd())
    known = set(EVENTS.glob("*.jsonl"))
    EVENTS.mkdir(parents=True, exist_ok=True)
    log = EVENTS / f"{time.strftime('%Y-%m-%dT%H%M%S')}.log"
    print(f"Everything that Snakemake writes: {log}. Planning ...", file=sys.stderr, flush=True)
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *with_project(options)], stdout=stream, stderr=subprocess.STDOUT
        )
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
    ):  # Snakemake decides how to end; a terminal told it too
        signal.signal(number, lambda number, _: process.send_signal(number) if number != signal.SIGINT else None)
    screen = Screen(use_colours(sys.stderr.isatty()))
    run, code = None, None
    while code is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(1)
        events = set(EVENTS.glob(f"*-{process.pid}.jsonl")) - known
        if events:
            run = read_run(events.pop())
            if run.planned:
                _draw(screen, run, earlier, workdir, ended=code is not None)
    if code:
        _say_why(run, log, workdir)
    elif run is None:
        print(tail(log)[-1] if tail(log) else "Snakemake had nothing to say", file=sys.stderr)
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    run_program(main)
