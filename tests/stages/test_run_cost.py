"""What the run cost: the sums of Snakemake's benchmark files, GPUs as the jobs have recorded them, nothing that was not measured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from study_files import write_table
from workflow import ROOT

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, write_json
from workflow_scripts.base.job_record import PLACE, note
from workflow_scripts.reporting.report.blocks import Run
from workflow_scripts.reporting.report.sections.tables import cost as cost_section
from workflow_scripts.reporting.tables.cells import read_mixed_csv
from workflow_scripts.reporting.tables.cost import beside_estimate, read_jobs

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
GPU = "NVIDIA H100 80GB HBM3"
STAGES = ("find_cases", "preprocess", "train_generator", "synthesize")


def job(run: Path, place: str, seconds: float, cpu: object, rss: object, gpus: int = 0, resumed: bool = False) -> None:
    """The benchmark file and the record of a job, as Snakemake and the programs write them."""
    benchmark = run / "benchmarks" / f"{place}.tsv"
    benchmark.parent.mkdir(parents=True, exist_ok=True)
    benchmark.write_text(f"{HEADER}{seconds:.2f}\t0:00:00\t{rss}\t1.0\t1.0\t1.0\t0.00\t0.00\t98.76\t{cpu}\n")
    record = {"device": GPU if gpus else "CPU", "gpus": gpus, "resumed": resumed}
    write_json(run / "logs" / f"{place}.json", record)


@pytest.fixture
def run(tmp_path) -> Path:
    """A run with GPU and CPU stages, a training on two GPUs that was resumed, and a job too short to be sampled."""
    job(tmp_path, "find_cases", 0.2, "NA", "NA")
    job(tmp_path, "preprocess/0", 100.0, "180.00", "500.00")
    job(tmp_path, "preprocess/1", 140.5, "200.25", "750.50")
    job(tmp_path, "n_real~20/train_generator/slice_ldm", 3600.0, "4000.00", "9000.00", gpus=2, resumed=True)
    job(tmp_path, "n_real~50/train_generator/slice_ldm", 7200.0, "8000.00", "8000.00", gpus=1)
    job(tmp_path, "n_real~20/synthesize/slice_ldm/0", 60.0, "50.00", "900.00", gpus=1)
    return tmp_path


def table_of(run: Path, *options: str) -> pd.DataFrame:
    write_table("cost", run / "tables/cost.csv", *options, settings={"run": str(run), "stages": STAGES})
    return read_mixed_csv(run / "tables/cost.csv").set_index("stage")


def test_hours_are_the_sums_of_the_benchmark_files(run):
    table = table_of(run)
    assert list(table.index) == [*STAGES, "all stages"]
    assert list(table.jobs) == [1, 2, 2, 1, 6]
    assert table.wall_hours["preprocess"] == pytest.approx(240.5 / 3600, abs=1e-6)
    assert table.cpu_hours["preprocess"] == pytest.approx(380.25 / 3600, abs=1e-6)
    assert table.wall_hours["all stages"] == pytest.approx((0.2 + 240.5 + 3 * 3600 + 60) / 3600, abs=1e-6)
    assert table.peak_memory_mib["preprocess"] == 750.5, "of the largest job"
    assert table.peak_memory_mib["all stages"] == 9000


def test_gpu_hours_are_wall_hours_times_the_gpus_that_the_record_names(run):
    gpu_hours = table_of(run).gpu_hours
    assert gpu_hours["train_generator"] == pytest.approx(2 * 1 + 1 * 2)
    assert gpu_hours["synthesize"] == pytest.approx(60 / 3600, abs=1e-6)
    assert gpu_hours["preprocess"] == 0
    assert gpu_hours["all stages"] == pytest.approx(4 + 60 / 3600, abs=1e-6)
    assert f"times their GPUs ({GPU})" in (run / "tables/cost.md").read_text()


def test_a_run_without_a_gpu_says_so(tmp_path):
    job(tmp_path, "n_real~4/train_generator/slice_ldm", 10, "9.00", "700.00")
    assert table_of(tmp_path).gpu_hours["all stages"] == 0
    assert "no GPU was used" in (tmp_path / "tables/cost.md").read_text()


def test_what_was_not_measured_has_no_number(run):
    table = table_of(run)
    assert table.cpu_hours["find_cases"] == table.peak_memory_mib["find_cases"] == "not measured"
    assert "1 of the jobs ended before the first sample" in (run / "tables/cost.md").read_text()
    (run / "logs/n_real~20/synthesize/slice_ldm/0.json").unlink()
    table = table_of(run)
    assert table.gpu_hours["synthesize"] == table.gpu_hours["all stages"] == "not measured"
    assert table.gpu_hours["train_generator"] == pytest.approx(4)
    assert "where the record of a job" in (run / "tables/cost.md").read_text()


def test_a_resumed_training_is_named(run):
    assert table_of(run).resumed_jobs["train_generator"] == 1
    text = (run / "tables/cost.md").read_text()
    assert "1 of the jobs went on from a checkpoint of an earlier attempt" in text
    job(run, "n_real~20/train_generator/slice_ldm", 3600.0, "1.00", "1.00")
    table_of(run)
    assert "went on from a checkpoint" not in (run / "tables/cost.md").read_text()


def readable(run: Path) -> dict[str, list[str]]:
    """Rows of cost.md by their first cell."""
    lines = [
        line.split("|")[1:-1] for line in (run / "tables/cost.md").read_text().splitlines() if line.startswith("|")
    ]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_readers_see_hours_and_for_a_small_run_minutes(run):
    table_of(run)
    rows = readable(run)
    assert rows["stage"] == ["jobs", "wall time, h", "GPU time, h", "CPU time, h", "peak memory, MiB"]
    assert rows["train_generator"] == ["2", "3.00", "4.00", "3.33", "9,000"]
    assert rows["preprocess"] == ["2", "0.07", "0", "0.11", "750"]
    assert rows["find_cases"] == ["1", "0.00", "0", "not measured", "not measured"]
    for path in [*(run / "benchmarks").rglob("train_generator/*")]:
        path.unlink()
    table_of(run)
    rows = readable(run)
    assert rows["stage"][1:4] == ["wall time, min", "GPU time, min", "CPU time, min"]
    assert rows["preprocess"] == ["2", "4.0", "0", "6.3", "750"]


def test_the_report_shows_the_table_with_its_notes(run):
    table_of(run)
    section = cost_section(Run(pd.DataFrame(), {"cost": [run / "tables/cost.csv"]}, {}, False))
    said, folded = section.blocks
    table, notes, made = folded.blocks
    assert "cost" in said.text or "took" in said.text
    assert section.title == "What the run cost"
    assert table.frame.stage.iloc[-1] == "all stages"
    assert any("no longer has" in note for note in notes.sentences)
    assert made.program == "reporting.make_table cost" and made.command.endswith("tables/cost.csv")
    assert cost_section(Run(pd.DataFrame(), {"cost": []}, {}, False)) is None


def test_stages_that_are_not_asked_for_are_not_counted(run):
    job(run, "make_report", 99.0, "1.00", "1.00")
    assert table_of(run).jobs["all stages"] == 6


def test_a_broken_benchmark_file_is_named(run):
    (run / "benchmarks/preprocess/0.tsv").write_text("s\n")
    with pytest.raises(UserError, match=r"preprocess/0\.tsv is no benchmark file"):
        table_of(run)


def test_a_run_without_benchmark_files_is_told_what_to_do(tmp_path):
    with pytest.raises(UserError, match="no benchmark file of these stages"):
        table_of(tmp_path)


PROGRAM = """
from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.job_record import note
def main():
    program_parser("").parse_args()
    if {network}:
        from workflow_scripts.training.devices import default_device
        default_device(), note(resumed=True)
run_program(main)
"""


@pytest.mark.parametrize("network", [True, False])
def test_a_program_records_what_it_ran_on(tmp_path, network):
    (tmp_path / "job.json").write_text('{"device": "of an earlier attempt", "gpus": 8, "resumed": true}')
    command = [sys.executable, "-c", PROGRAM.format(network=network), "--record", str(tmp_path / "job.log")]
    subprocess.run(command, cwd=ROOT, check=True)
    gpu = network and torch.cuda.is_available()
    name = torch.cuda.get_device_name() if gpu else "CPU"
    assert read_json(tmp_path / "job.json") == {"device": name, "gpus": int(gpu), "resumed": network}


def test_of_the_tasks_of_srun_the_first_alone_records(tmp_path, monkeypatch):
    monkeypatch.setenv(PLACE, str(tmp_path / "job.json"))
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    for task, expected in (("1", False), ("0", True)):
        monkeypatch.setenv("SLURM_PROCID", task)
        note(gpus=2)
        assert (tmp_path / "job.json").exists() == expected


def test_jobs_are_read_in_a_fixed_order(run):
    assert list(read_jobs(run, STAGES).stage) == list(read_jobs(run, STAGES[::-1]).stage)


def test_the_report_sets_the_estimate_beside_what_was_measured(run):
    table = table_of(run).reset_index()
    rows = [
        {"stage": "preprocess", "hours": 0.05},
        {"stage": "make_figure", "hours": 1.0},
        {"stage": "all stages", "hours": 1.05},
    ]
    shown = beside_estimate(table, rows).set_index("stage")
    assert list(shown.index) == ["preprocess", "all stages"], "of stages that both know"
    assert list(shown.loc["preprocess"]) == ["3.0", "4.0", "0.75"] == list(shown.loc["all stages"])
