"""What is read from the logs of Snakemake and of jobs; the texts are those of real runs, shortened."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

import pytest
from snakemake.logging import DefaultFormatter
from snakemake_interface_logger_plugins.common import LogEvent

from workflow_scripts.reporting.job_log import error_of, progress_of
from workflow_scripts.reporting.job_states import Machine, goes_on, study_state
from workflow_scripts.reporting.planned_jobs import PlannedJob
from workflow_scripts.reporting.run_log import options_of, parse_run_log

HEAD = """Building DAG of jobs...

SNAKEMAKE
=========
  Date: 2026-11-24 02:08:08
  Host: login1
  Command: snakemake --profile slurm --configfile study.yaml more.yaml --config run=a splits={n_real: [4, 8]} -- all
"""
SLURM = (
    HEAD
    + """SLURM run ID: sliceaug_10d3d0e9-dc31-4cad-8182-5cc008594a05
[Tue Nov 24 02:06:21 2026] Group job cohort (jobs in lexicogr. order):
    [Tue Nov 24 02:06:21 2026]
    rule merge_cohort:
        output: results/tiny/cohort/cases.tsv, results/tiny/cohort/rejected.tsv
        log: results/tiny/logs/merge_cohort.log
        jobid: 2
        resources: tmpdir=<TBD>, mem_mb=900
    [Tue Nov 24 02:06:21 2026]
    rule split_cohort:
        log: results/tiny/logs/split_cohort.log
        jobid: 6
Job d1c02951-7f78-5e33-81be-384d40d7e570 has been submitted with SLURM jobid 47 (log: logs/slurm/group_cohort/47.log).
[Tue Nov 24 02:06:57 2026]
Finished jobid: 2 (Rule: merge_cohort)
[Tue Nov 24 02:06:57 2026]
Finished jobid: 6 (Rule: split_cohort)
5 of 34 steps (15%) done
Select jobs to execute...
[Tue Nov 24 02:06:58 2026]
rule train_autoencoder:
    log: results/tiny/logs/n_real~4/train_autoencoder/slice_vae.log
    jobid: 19
    wildcards: n_real=4, name=slice_vae
Job 19 has been submitted with SLURM jobid 49 (log: logs/slurm/rule_train_autoencoder/4_slice_vae/49.log).
"""
)
CANCELLED = """[Tue Nov 24 02:08:11 2026]
Error in rule train_autoencoder:
    message: SLURM-job '49' failed, SLURM status is: 'CANCELLED'.
    jobid: 19
    log: results/tiny/logs/n_real~4/train_autoencoder/slice_vae.log, logs/slurm/rule_train_autoencoder/4_slice_vae/49.log (check log file(s) for error details)
    shell:
         python -m workflow_scripts.train_autoencoder --config '{}'
        (command exited with non-zero exit code)
    external_jobid: 49
"""
LOCAL_FAILURE = """[Tue Nov 24 00:16:49 2026]
localrule synthesize:
    log: results/demo_all/logs/n_real~12/synthesize/lsgan_3d/0.log
    jobid: 52
    wildcards: n_real=12, system=lsgan_3d, block=0
Select jobs to execute...
RuleException:
CalledProcessError in file "rules/synthesis.smk", line 31:
Command 'set -euo pipefail;  python -m workflow_scripts.synthesize' returned non-zero exit status {}.
[Tue Nov 24 00:16:51 2026]
Error in rule synthesize:
    message: None
    jobid: 52
    log: results/demo_all/logs/n_real~12/synthesize/lsgan_3d/0.log (check log file(s) for error details)
    shell:
        python -m workflow_scripts.synthesize
        (command exited with non-zero exit code)
"""


def test_the_header_says_who_started_what_and_where():
    run = parse_run_log(SLURM)
    assert (run.begun, run.host, run.complete) == (datetime(2026, 11, 24, 2, 8, 8), "login1", False)
    assert options_of(run.command) == (["study.yaml", "more.yaml"], ["run=a", "splits={n_real: [4, 8]}"])
    assert parse_run_log(SLURM + "Complete log(s): x.snakemake.log\n").complete


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("snakemake --cores all", ([], [])),
        ("snakemake --configfiles=a.yaml --cores 2", (["a.yaml"], [])),
        ("snakemake -C run=a systems=[x, y] --retries 2 tables", ([], ["run=a", "systems=[x, y]"])),
    ],
)
def test_options_are_found_in_an_unquoted_command(command, options):
    assert options_of(command) == options


def test_jobs_that_share_a_submission_know_their_slurm_job():
    jobs = parse_run_log(SLURM).jobs
    assert {(job.rule, job.state, job.slurm_id, job.grouped) for job in jobs.values()} == {
        ("merge_cohort", "finished", "47", True),
        ("split_cohort", "finished", "47", True),
        ("train_autoencoder", "started", "49", False),
    }
    assert jobs[19].since == datetime(2026, 11, 24, 2, 6, 58)


def test_a_cancelled_job_says_so_and_one_tried_again_is_no_failure():
    job = parse_run_log(SLURM + CANCELLED).jobs[19]
    assert (job.state, job.failures, job.slurm_log) == (
        "failed",
        1,
        "logs/slurm/rule_train_autoencoder/4_slice_vae/49.log",
    )
    assert job.log == "results/tiny/logs/n_real~4/train_autoencoder/slice_vae.log"
    assert job.message == "SLURM-job '49' failed, SLURM status is: 'CANCELLED'."
    again = SLURM + CANCELLED + "Trying to restart job 19.\n"
    assert parse_run_log(again).jobs[19].state == "retried"
    block = SLURM[SLURM.index("[Tue Nov 24 02:06:58") :].replace("jobid 49", "jobid 50")
    job = parse_run_log(again + block).jobs[19]
    assert (job.state, job.failures, job.slurm_id) == ("started", 1, "50")
    assert parse_run_log(again + block + CANCELLED).jobs[19].failures == 2


def test_tasks_of_a_job_array_are_told_apart():
    text = "".join(f"rule preprocess:\n    log: {n}.log\n    jobid: {n}\n" for n in (7, 5, 9))
    text += "Submitted array job with Snakemake IDs 7,5,9 and SLURM job ID 88. The individual task IDs are 1-3.\n"
    assert {number: job.slurm_id for number, job in parse_run_log(text).jobs.items()} == {
        7: "88_1",
        5: "88_2",
        9: "88_3",
    }


@pytest.mark.parametrize(
    ("status", "message"), [(1, ""), (2, ""), (137, "ended by SIGKILL"), (143, "ended by SIGTERM")]
)
def test_a_signal_that_ended_a_program_is_named(status, message):
    (job,) = parse_run_log(LOCAL_FAILURE.format(status)).jobs.values()
    assert (job.rule, job.state, job.failures, job.message) == ("synthesize", "failed", 1, message)


def snakemake_writes(event: LogEvent, message: str, **values) -> str:
    """The text that the installed Snakemake makes of an event."""
    record = logging.makeLogRecord({"msg": message, "event": event, **values})
    return DefaultFormatter().format(record) + "\n"


def test_a_failed_group_fails_each_of_its_jobs_once():
    error = {"rule_msg": None, "input": [], "conda_env": None, "shellcmd": "x", "aux": {}, "indent": True}
    infos = [
        error
        | {"rule_name": rule, "jobid": number, "output": [f"{rule}.tsv"], "log": [f"results/tiny/logs/{rule}.log"]}
        for rule, number in (("merge_cohort", 2), ("split_cohort", 6))
    ]
    text = SLURM[: SLURM.index("[Tue Nov 24 02:06:57")]
    text += snakemake_writes(LogEvent.GROUP_ERROR, "Error", aux_logs=["logs/slurm/47.log"], job_error_info=infos)
    for info in infos:
        text += snakemake_writes(LogEvent.JOB_ERROR, "Error", **info)
    jobs = parse_run_log(text).jobs
    assert [(job.state, job.failures, job.slurm_log) for job in jobs.values()] == [
        ("failed", 1, "logs/slurm/47.log")
    ] * 2
    assert [job.log for job in jobs.values()] == [
        "results/tiny/logs/merge_cohort.log",
        "results/tiny/logs/split_cohort.log",
    ]


@pytest.mark.parametrize("length", range(0, len(SLURM + CANCELLED), 97))
def test_a_log_that_is_cut_anywhere_can_be_read(length):
    parse_run_log((SLURM + CANCELLED)[:length])


PLAN = [
    PlannedJob(rule, f"results/tiny/logs/{log}.log", False)
    for rule, log in (("split_cohort", "split_cohort"), ("train_autoencoder", "n_real~4/train_autoencoder/slice_vae"))
]


def states(
    runs: list[str], tmp_path: Path, alive: tuple[int, ...] = (), slurm: dict | None = None, up_to_date=()
) -> list[str]:
    """States of `PLAN` after these runs, the newest first, of which those numbered in `alive` go on."""
    for job in PLAN:
        (tmp_path / job.log).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / job.log).touch()
    logs = [parse_run_log(text, tmp_path / str(number)) for number, text in enumerate(runs)]
    machine = Machine("login1", frozenset(tmp_path / str(number) for number in alive), frozenset(), slurm or {})
    plan = [PlannedJob(job.rule, job.log, job.rule in up_to_date) for job in PLAN]
    return [job.state for job in study_state(plan, logs, machine, tmp_path).jobs]


def test_a_job_in_the_queue_waits_runs_or_is_gone(tmp_path):
    done = ("split_cohort",)
    for queue, state in (({"49": "PENDING"}, "queued"), ({"49": "RUNNING"}, "running"), ({}, "running")):
        assert states([SLURM], tmp_path, (0,), queue, done) == ["done", state]
    assert states([SLURM], tmp_path, (), {"49": "RUNNING"}, done) == ["done", "running"], (
        "Snakemake is gone, the job is not"
    )
    assert states([SLURM], tmp_path, (), {}, done) == ["done", "cut off"]


def test_what_an_older_run_left_undone_waits_for_the_newer_one(tmp_path):
    newer = HEAD + "rule split_cohort:\n    log: results/tiny/logs/split_cohort.log\n    jobid: 6\n"
    for older, state in ((SLURM, "cut off"), (SLURM + CANCELLED, "failed")):
        assert states([newer, older], tmp_path, (0,)) == ["running", "waiting"]
        assert states([newer, older], tmp_path) == ["cut off", state]
    assert states([HEAD + CANCELLED, SLURM], tmp_path, up_to_date=("train_autoencoder",))[1] == "done"


def test_outputs_that_are_out_of_date_wait(tmp_path):
    assert states([SLURM], tmp_path, (0,))[0] == "waiting", "it ended well, but something before it has changed"


def test_the_machine_of_a_run_tells_whether_it_goes_on_and_others_guess_by_age(tmp_path):
    run = parse_run_log(SLURM, tmp_path / "run.log")
    run.path.touch()
    assert not goes_on(run, Machine("login1", frozenset(), frozenset(), {}), tmp_path)
    assert goes_on(run, Machine("login1", frozenset({run.path}), frozenset(), {}), tmp_path)
    elsewhere = Machine("login2", frozenset(), frozenset(), {})
    assert goes_on(run, elsewhere, tmp_path), "its log was written to just now"
    run.path.unlink()
    assert not goes_on(run, elsewhere, tmp_path)
    assert goes_on(run, Machine("login2", frozenset(), frozenset(), {"49": "RUNNING"}), tmp_path)


TRAINING = """23:50:31 autoencoder slice_vae: on CPU with 2 threads, bf16 autocast
23:50:46 autoencoder slice_vae: 88 of 600 steps, 5.83 steps/s, 0:01:28 left, loss 0.8205
23:51:01 autoencoder slice_vae: 182 of 600 steps, 6.03 steps/s, 0:01:09 left, loss 0.7335
"""


def test_progress_is_the_last_line_that_counts():
    assert str(progress_of(TRAINING)) == "182 of 600 steps, 0:01:09 left, loss 0.7335"
    line = "23:54:52 training nnU-Net on 12 (real only, seed 0): 59 of 120 steps, 3.9 steps/s, 0:00:16 left, epoch 1, loss 0.02833\n"
    assert str(progress_of(TRAINING + line)) == "59 of 120 steps, 0:00:16 left, epoch 1, loss 0.02833"
    assert str(progress_of("preprocessing, shard 0 of 2: 1 of 4 cases, 0 cases/s, unknown time left")) == (
        "1 of 4 cases, unknown time left"
    )
    assert progress_of(TRAINING + "23:52:09 x: 600 of 600 steps, 6.09 steps/s, 0:00:00 left, loss 0.5\n") is None
    assert progress_of("23:50:31 autoencoder slice_vae: 1.45 M parameters, 12 training cases\n") is None


TRACEBACK = """00:16:50 lsgan_3d: 12 cases of 32x40x40 voxels, in one pass, on CPU with 2 threads, bf16 autocast
Traceback (most recent call last):
  File "workflow_scripts/synthesize.py", line 112, in _case_row
    return row | {f"measured_{name}": case.measured[name] for name in names}
                                      ~~~~~~~~~~~~~^^^^^^
TypeError: 'NoneType' object is not subscriptable
"""


@pytest.mark.parametrize(
    ("log", "slurm_log", "lines"),
    [
        (TRACEBACK, "", ["TypeError: 'NoneType' object is not subscriptable"]),
        (TRAINING + "error: case A: is torn (a.nii)\n", "", ["error: case A: is torn (a.nii)"]),
        (
            "error: config: x. Write, for example:\n    x: 1\n",
            "",
            ["error: config: x. Write, for example:", "    x: 1"],
        ),
        (
            TRAINING,
            "slurmstepd: error: *** JOB 12 ON gpu1 CANCELLED AT 2026-11-24T02:08:11 DUE TO TIME LIMIT ***\n",
            ["slurmstepd: error: *** JOB 12 ON gpu1 CANCELLED AT 2026-11-24T02:08:11 DUE TO TIME LIMIT ***"],
        ),
        (TRAINING, "", ["it left no error message; the last line of its log:", TRAINING.splitlines()[-1]]),
        ("", "", ["its log is empty"]),
    ],
)
def test_why_a_job_failed(log, slurm_log, lines):
    assert error_of(log, slurm_log) == lines
