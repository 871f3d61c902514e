"""What a run of Snakemake notes of its jobs, what is read from it, from Slurm's queue and from the logs of jobs."""

from __future__ import annotations

import json
import logging
import os
import platform
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from workflow_scripts.operations import run_events, study_state
from workflow_scripts.operations.run_events import EventFile, read_run, read_runs
from workflow_scripts.operations.status_text import error_of, progress_of
from workflow_scripts.operations.study_state import Job, goes_on

SPLIT, TRAIN = "results/tiny/logs/split_cohort.log", "results/tiny/logs/n_real~4/train_autoencoder/slice_vae.log"
SLURM_LOG = "logs/slurm/rule_train_autoencoder/4_slice_vae/49.log"


def workflow(dryrun: bool = False, retries: int = 0) -> SimpleNamespace:
    settings = SimpleNamespace(configfiles=[Path("study.yaml")], config_args=["run=a", "splits={n_real: [4, 8]}"])
    marks = SimpleNamespace(started=lambda job, external_jobid=None: None)
    execution = SimpleNamespace(retries=retries)
    return SimpleNamespace(dryrun=dryrun, config_settings=settings, execution_settings=execution, persistence=marks)


class Events:
    """A run whose events a test makes, with the fields that Snakemake gives them."""

    def __init__(self, folder: Path, monkeypatch, **settings):
        monkeypatch.chdir(folder)
        self.file = EventFile(workflow(**settings))

    def say(self, event: str | None, message: str = "", **values) -> None:
        self.file.handle(logging.makeLogRecord({"msg": message, "event": event, **values}))

    def start(self, number: int, log: str, indent: bool = False) -> None:
        self.say("job_info", jobid=number, log=[log] if log else [], indent=indent, rule_name="a")

    def fail(self, number: int, *logs: str, message: str | None = None, indent: bool = False) -> None:
        self.say("job_error", jobid=number, log=list(logs), rule_msg=message, indent=indent)


@pytest.fixture
def events(tmp_path, monkeypatch) -> Events:
    return Events(tmp_path, monkeypatch)


def test_a_run_says_who_started_what_and_where_and_a_dry_run_nothing(tmp_path, monkeypatch):
    Events(tmp_path, monkeypatch, dryrun=True).start(1, SPLIT)
    assert not (tmp_path / ".snakemake").exists()
    events = Events(tmp_path, monkeypatch, retries=3)
    events.say("progress", "1 of 2 steps")
    events.start(0, "")  # a named target
    assert read_runs(tmp_path) == []
    events.start(1, SPLIT)
    (run,) = read_runs(tmp_path)
    assert (run.host, run.process) == (platform.node(), (os.getpid(), psutil.Process().create_time()))
    assert (run.configfiles, run.config, run.retries) == (["study.yaml"], ["run=a", "splits={n_real: [4, 8]}"], 3)
    assert goes_on(run, {}, tmp_path) and not run.ended
    events.file.close()
    (run,) = read_runs(tmp_path)
    assert run.ended and not goes_on(run, {}, tmp_path)


def test_a_cancelled_job_says_so_and_its_next_attempt_knows_of_it(events, tmp_path):
    events.start(19, TRAIN)
    message = "SLURM-job '49' failed, SLURM status is: 'CANCELLED'."
    events.fail(19, TRAIN, SLURM_LOG, message=message)
    job = read_runs(tmp_path)[0].jobs[TRAIN]
    assert (job.state, job.failures, job.message, job.slurm_log) == ("failed", 1, message, SLURM_LOG)
    events.start(19, TRAIN)
    job = read_runs(tmp_path)[0].jobs[TRAIN]
    assert (job.state, job.failures, job.message) == ("started", 1, "")
    events.fail(19, TRAIN)
    assert read_runs(tmp_path)[0].jobs[TRAIN].failures == 2
    events.start(19, TRAIN)
    events.say("job_finished", job_id=19)
    assert read_runs(tmp_path)[0].jobs[TRAIN].state == "finished"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("returned non-zero exit status 1.", ""),
        ("returned non-zero exit status 137.", "ended by SIGKILL"),
        ("died with <Signals.SIGTERM: 15>.", "ended by SIGTERM"),
    ],
)
def test_a_signal_that_ended_a_program_is_named(events, tmp_path, how, message):
    events.start(52, TRAIN)
    events.say("error", f"CalledProcessError in file rules/x.smk:\nCommand 'set -e; python' {how}")
    events.fail(52, TRAIN)
    events.start(6, SPLIT)
    events.fail(6, SPLIT)
    jobs = read_runs(tmp_path)[0].jobs
    assert (jobs[TRAIN].message, jobs[SPLIT].message) == (message, "")


def test_a_failed_group_fails_each_of_its_jobs_once(events, tmp_path):
    logs = ["results/tiny/logs/merge_cohort.log", SPLIT]
    for number, log in enumerate(logs):
        events.start(number, log, indent=True)
    events.say("group_error", aux_logs=["logs/slurm/47.log"])
    for number, log in enumerate(logs):
        events.fail(number, log, indent=True)
    jobs = read_runs(tmp_path)[0].jobs
    assert [(log, job.state, job.failures, job.slurm_log, job.grouped) for log, job in jobs.items()] == [
        (log, "failed", 1, "logs/slurm/47.log", True) for log in logs
    ]


def test_a_file_that_is_cut_anywhere_can_be_read(events, tmp_path):
    events.start(19, TRAIN)
    events.fail(19, TRAIN)
    (path,) = (tmp_path / run_events.EVENTS).iterdir()
    whole = path.read_bytes()
    for length in range(0, len(whole), 17):
        path.write_bytes(whole[:length])
        assert len(read_run(path).jobs) <= 1


def test_a_full_disk_ends_no_run(events, monkeypatch):
    events.file.file = open("/dev/full", "w")  # noqa: SIM115
    monkeypatch.setattr(logging, "raiseExceptions", True)
    events.start(19, TRAIN)


# --- the states of jobs -------------------------------------------------------------------------------------------------


def states(runs: list[list[dict]], folder: Path, monkeypatch, alive=(), queue=None, up_to_date=()) -> list[str]:
    """States of two jobs after runs with these events, the newest first, of which those numbered in `alive` go on."""
    monkeypatch.setattr(study_state, "slurm_queue", lambda: queue or {})
    noted = []
    for number, lines in enumerate(runs):
        process = [os.getpid(), psutil.Process().create_time() - (0 if number in alive else 1000)]
        head = {"time": 1.0, "host": platform.node(), "process": process, "configfiles": [], "config": [], "retries": 1}
        (folder / str(number)).write_text("".join(json.dumps({"time": 2.0} | line) + "\n" for line in [head, *lines]))
        noted.append(read_run(folder / str(number)))
    jobs = [Job(Path(log).stem, log, log in up_to_date) for log in (SPLIT, TRAIN)]
    return [job.state for job in study_state.study_state(jobs, noted, folder).jobs]


START = [{"state": "started", "log": TRAIN, "grouped": False}, {"slurm_id": "49", "log": TRAIN}]
FAIL = [{"state": "failed", "log": TRAIN, "grouped": False}]


def test_a_job_in_the_queue_waits_runs_or_is_gone(tmp_path, monkeypatch):
    look = [START], tmp_path, monkeypatch
    for queue, state in (({"49": "PENDING"}, "queued"), ({"49": "RUNNING"}, "running"), ({}, "running")):
        assert states(*look, (0,), queue, [SPLIT]) == ["done", state]
    assert states(*look, (), {"49": "RUNNING"})[1] == "running", "Snakemake is gone, the job is not"
    assert states(*look) == ["waiting", "cut off"]


def test_a_failure_is_one_when_nothing_will_try_again(tmp_path, monkeypatch):
    assert states([START + FAIL], tmp_path, monkeypatch, (0,))[1] == "waiting", "its one retry"
    assert states([START + FAIL + START + FAIL], tmp_path, monkeypatch, (0,))[1] == "failed"
    assert states([START + FAIL], tmp_path, monkeypatch)[1] == "failed"


def test_what_an_older_run_left_undone_waits_for_the_newer_one(tmp_path, monkeypatch):
    newer = [{"state": "started", "log": SPLIT, "grouped": False}]
    for older, state in ((START, "cut off"), (START + FAIL, "failed")):
        assert states([newer, older], tmp_path, monkeypatch, (0,)) == ["running", "waiting"]
        assert states([newer, older], tmp_path, monkeypatch) == ["cut off", state]
    assert states([START + FAIL], tmp_path, monkeypatch, up_to_date=[TRAIN])[1] == "done", "made by other means"


def test_a_job_of_a_group_waits_for_its_turn_and_what_is_out_of_date_waits(tmp_path, monkeypatch):
    grouped = [START[0] | {"grouped": True}, START[1]]
    assert states([grouped], tmp_path, monkeypatch, (0,))[1] == "waiting"
    (tmp_path / TRAIN).parent.mkdir(parents=True)
    (tmp_path / TRAIN).touch()
    assert states([grouped], tmp_path, monkeypatch, (0,))[1] == "running"
    finished = [*START, {"state": "finished", "log": TRAIN}]
    assert states([finished], tmp_path, monkeypatch)[1] == "waiting", "it ended well; something before it has changed"


def test_another_machine_guesses_by_the_queue_and_by_the_age_of_logs(events, tmp_path, monkeypatch):
    events.start(19, TRAIN)
    events.file.workflow.persistence.started(SimpleNamespace(log=[TRAIN]), "49")
    (run,) = read_runs(tmp_path)
    assert run.jobs[TRAIN].slurm_id == "49"
    monkeypatch.setattr(platform, "node", lambda: "elsewhere")
    assert goes_on(run, {}, tmp_path), "its events were written to just now"
    os.utime(run.path, (0, 0))
    assert not goes_on(run, {}, tmp_path)
    assert goes_on(run, {"49": "RUNNING"}, tmp_path)


# --- the logs of jobs ---------------------------------------------------------------------------------------------------

TRAINING = [
    "23:50:31 autoencoder slice_vae: on CPU with 2 threads, bf16 autocast",
    "23:50:46 autoencoder slice_vae: 88 of 600 steps, 5.83 steps/s, 0:01:28 left, loss 0.8205",
    "23:51:01 autoencoder slice_vae: 182 of 600 steps, 6.03 steps/s, 0:01:09 left, loss 0.7335",
]


def test_progress_is_the_last_line_that_counts():
    counted = "182 of 600 steps, 6.03 steps/s, 0:01:09 left, loss 0.7335"
    assert progress_of(TRAINING) == progress_of([*TRAINING, "23:51:02 a checkpoint"]) == counted
    line = "23:54:52 nnU-Net on 12 (real only, seed 0): 59 of 120 steps, 3.9 steps/s, 0:00:16 left, loss 0.02"
    assert progress_of([*TRAINING, line]) == "59 of 120 steps, 3.9 steps/s, 0:00:16 left, loss 0.02"
    ended = "23:52:09 x: 600 of 600 steps, 6.09 steps/s, 0:00:00 left, loss 0.5"
    assert progress_of([*TRAINING, ended, "writing"]) == "writing"
    assert progress_of([]) == "it has logged nothing"


TRACEBACK = [
    "00:16:50 lsgan_3d: 12 cases of 32x40x40 voxels, in one pass, on CPU with 2 threads, bf16 autocast",
    "Traceback (most recent call last):",
    '  File "workflow_scripts/programs/synthesis/synthesize.py", line 112, in _case_row',
    '    return row | {f"measured_{name}": case.measured[name] for name in names}',
    "TypeError: 'NoneType' object is not subscriptable",
]
TIME_LIMIT = "slurmstepd: error: *** JOB 12 ON gpu1 CANCELLED AT 2026-11-24T02:08:11 DUE TO TIME LIMIT ***"


@pytest.mark.parametrize(
    ("log", "slurm_log", "lines"),
    [
        (TRACEBACK, [], TRACEBACK[-1:]),
        ([*TRAINING, "error: case A: is torn (a.nii)"], [], ["error: case A: is torn (a.nii)"]),
        (
            ["error: config: x. Write, for example:", "    x: 1"],
            [],
            ["error: config: x. Write, for example:", "    x: 1"],
        ),
        (TRAINING, ["srun: launching", TIME_LIMIT], [TIME_LIMIT]),
        (TRAINING, [], ["it left no error message; the last line of its log:", TRAINING[-1]]),
        ([], [], ["its log is empty"]),
    ],
)
def test_why_a_job_failed(log, slurm_log, lines):
    assert error_of(log, slurm_log) == lines
