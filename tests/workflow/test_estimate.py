"""`make estimate`: what a study costs by an earlier run's measurements, its wall time on a machine, and the run that measures."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from workflow import ROOT

from workflow_scripts.base.errors import UserError
from workflow_scripts.operations import estimate
from workflow_scripts.operations.estimate import (
    amount_text,
    cheaper_settings,
    disk_bytes,
    disk_units,
    estimate_table,
    wall_seconds,
)
from workflow_scripts.operations.estimate_rates import PlannedJob, Rate, rates_of_run, with_benchmark, with_likes
from workflow_scripts.operations.probe import TEST, TRAIN, VAL, probe_settings
from workflow_scripts.programs.operations.estimate import Planned, main, savings

TINY = [str(ROOT / "tests/tiny.yaml")]
START, PER_SECOND = 4.0, 1e9  # seconds of every job's start; work of a second
LOOP = {True: {"work": [{"unit": "step", "units": 3, "seconds": 100.0}]}, False: {}}  # of a job's record


@pytest.fixture(scope="module")
def tiny() -> Planned:
    return Planned(TINY, [])


@pytest.fixture(scope="module")
def earlier(tiny, tmp_path_factory) -> Path:
    """A run of the tiny study on a machine that does as much work of any kind in a second, after START seconds."""
    run = tmp_path_factory.mktemp("earlier")
    for number, job in enumerate(tiny.jobs):
        work = (tiny.amounts.of(job.rule, job.wildcards) or 0) / PER_SECOND
        place = Path(job.rule, f"{number}")
        for folder in ("benchmarks", "logs"):
            (run / folder / place.parent).mkdir(parents=True, exist_ok=True)
        measured = f"s\tcpu_time\tmax_rss\n{START + work}\t1.0\t{100 + number}\n"
        (run / "benchmarks" / place).with_suffix(".tsv").write_text(measured)
        record = {"device": "CPU", "gpus": 0, "resumed": False, "work": [{"unit": "step", "units": 3, "seconds": work}]}
        (run / "logs" / place).with_suffix(".json").write_text(json.dumps(record))
    return run


def hours(study: Planned, rates: dict[str, Rate], rule: str) -> float:
    table = estimate_table(study.jobs, with_likes(rates, study.jobs), study.amounts)
    return table.set_index("stage").hours[rule]


def test_a_study_takes_what_the_earlier_run_took_and_a_longer_one_takes_longer(tiny, earlier):
    rates, device = rates_of_run(earlier, tiny.jobs, tiny.amounts)
    assert device == "CPU"
    works = [tiny.amounts.of(job.rule, job.wildcards) or 0 for job in tiny.jobs]
    assert hours(tiny, rates, "all stages") * 3600 == pytest.approx(
        len(works) * START + sum(works) / PER_SECOND, rel=1e-3
    )
    once = hours(tiny, rates, "train_generator") * 3600 - START
    longer = "system_settings={slice_ldm: {diffusion: {training: {steps: 900, batch_size: 4}}}}"
    assert hours(Planned(TINY, [longer]), rates, "train_generator") * 3600 - START == pytest.approx(once * 6, rel=1e-3)
    three = Planned(TINY, ["segmentation={seeds: [0, 1, 2]}"])
    assert hours(three, rates, "train_segmentation") == pytest.approx(3 * hours(tiny, rates, "train_segmentation"))


def test_of_systems_that_share_a_training_only_the_one_whose_job_it_is_pays_for_it(tmp_path):
    """Of the demo's three generators slice_ldm is trained; carvemix learns nothing, and slice_ldm_edit takes what is."""
    study = Planned([str(ROOT / "config/demo.yaml")], ["data_root=demo"])
    jobs = [job for job in study.jobs if job.rule == "train_generator"]
    for job in jobs:
        system = job.wildcards["system"]
        for folder, suffix, text in (
            (
                "benchmarks",
                ".tsv",
                f"s\tcpu_time\tmax_rss\n{START + 100 if system == 'slice_ldm' else START / 4}\t1.0\t100\n",
            ),
            ("logs", ".json", json.dumps({"device": "CPU", "gpus": 0, "resumed": False} | LOOP[system == "slice_ldm"])),
        ):
            path = (tmp_path / folder / "n_real~3" / job.rule / system).with_suffix(suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    rates, _ = rates_of_run(tmp_path, jobs, study.amounts)
    seconds = {
        job.wildcards["system"]: rates["train_generator"].seconds(study.amounts.of(job.rule, job.wildcards))
        for job in jobs
    }
    assert seconds["slice_ldm"] == pytest.approx(START / 2 + 100, rel=1e-3)
    assert seconds["carvemix"] == seconds["slice_ldm_edit"] == pytest.approx(START / 2, rel=1e-3), "the mean start"


def test_only_nnunet_is_thought_to_validate_after_each_epoch(tiny):
    (job,) = [job for job in tiny.jobs if job.rule == "train_segmentation" and "real" in str(job.wildcards)][:1]
    more = Planned(TINY, ["segmentation={val_iterations_per_epoch: 50}"])
    for segmenter, equal in (("nnunet", False), ("monai_dynunet", True)):
        wildcards = {**job.wildcards, "segmenter": segmenter}
        assert (tiny.amounts.of(job.rule, wildcards) == more.amounts.of(job.rule, wildcards)) is equal


def test_what_was_not_measured_is_taken_from_its_like_and_named(tiny, earlier):
    rates, _ = rates_of_run(earlier, tiny.jobs, tiny.amounts)
    measured = {rule: rate for rule, rate in rates.items() if rule not in ("synthesize", "make_report")}
    full = with_likes(measured, tiny.jobs)
    assert full["synthesize"].of == "evaluate_control" and full["make_report"].of == "the usual start"
    assert full["make_report"].seconds(None) == pytest.approx(START, rel=1e-3)
    assert full["synthesize"].seconds(5 * PER_SECOND) == pytest.approx(START + 5, rel=1e-3)


def test_settings_that_halve_it_are_named_with_what_they_leave(monkeypatch):
    config = ["segmentation={seeds: [0, 1], epochs: 4000}"]
    study = Planned(TINY, config)
    rates = {job.rule: Rate(0.0, 1e-6 if job.rule == "train_segmentation" else 0.0) for job in study.jobs}
    wanted = [
        line for line in cheaper_settings(study.config) if "epochs" in line or "seeds" in line or "{steps" in line
    ]
    assert len(wanted) == 4, wanted
    monkeypatch.setattr(estimate, "cheaper_settings", lambda config: wanted[:3])
    lines = savings(study, SimpleNamespace(workflow_profile=None, configfile=TINY, config=config), rates, on_gpu=False)
    whole = (
        sum(study.amounts.of(job.rule, job.wildcards) for job in study.jobs if job.rule == "train_segmentation") * 1e-6
    )
    left = f"{amount_text(whole / 7200)} of {amount_text(whole / 3600)}"
    assert [line.strip() for line in lines] == [
        f'{left}  --config "segmentation={{epochs: 2000}}"',
        f'{left}  --config "segmentation={{seeds: [0]}}"',
    ], "and the training whose steps cost nothing here is not named"


def test_jobs_wait_for_each_other_for_cores_and_for_the_gpu():
    def job(threads: int, gpus: int, *needs: int) -> PlannedJob:
        return PlannedJob("rule", "stage", {}, threads, gpus, needs)

    seconds = [10.0, 10.0, 10.0, 5.0]
    beside = [job(1, 0), job(1, 0), job(1, 0), job(1, 0, 0)]
    assert wall_seconds(beside, seconds, cores=4, gpus=1) == 15
    assert wall_seconds(beside, seconds, cores=2, gpus=1) == 20
    assert wall_seconds([job(1, 1) for _ in range(3)], [10.0] * 3, cores=4, gpus=1) == 30
    assert wall_seconds([job(8, 0), job(8, 0)], [10.0, 10.0], cores=2, gpus=1) == 20, "more threads than cores"


def test_its_profile_says_how_many_threads_a_training_has_and_how_many_run_beside_each_other(tiny):
    on_cpu = Planned(TINY, [], str(ROOT / "profiles/cpu"))
    assert (tiny.gpus, on_cpu.gpus) == (1, 1000)
    assert {job.threads for job in on_cpu.jobs if job.rule == "train_segmentation"} == {1}
    assert max(job.threads for job in tiny.jobs if job.rule == "train_segmentation") > 1


def test_a_profile_that_is_missing_is_named():
    with pytest.raises(UserError, match="there is no profile 'profiles/cpus'"):
        main(["--configfile", *TINY, "--workflow-profile", "profiles/cpus"])


def test_networks_of_another_device_run_as_fast_as_its_benchmark_says():
    """The autoencoder's step of the benchmark's own command, from the estimate's count and the JSON."""
    study = Planned([], ["data_root=demo"])
    path = ROOT / "docs/benchmarks/networks_h200.json"
    rates, device = with_benchmark({"train_autoencoder": Rate(START), "make_table": Rate(START)}, path, 0.5)
    (job,) = {job.rule: job for job in study.jobs if job.rule == "train_autoencoder"}.values()
    steps = study.config["system"]["slice_ldm"]["autoencoder"]["training"]["steps"]
    seconds = rates["train_autoencoder"].seconds(study.amounts.of(job.rule, job.wildcards)) - START
    row = json.loads(path.read_text())["rows"][0]
    assert seconds / steps == pytest.approx(2 * row["train_seconds"], rel=0.3), "at half of its speed"
    assert rates["make_table"] == Rate(START) and "H200" in device and "0.5" in device


def test_disk_grows_with_cases_and_grid(tiny, earlier):
    (earlier / "cohort/volumes").mkdir(parents=True)
    (earlier / "cohort/volumes/a").write_bytes(bytes(8000))
    before = disk_units(tiny.amounts, tiny.jobs)
    larger = Planned(TINY, ["demo_cohort={cases: 16}"])
    found = disk_bytes(earlier, before, disk_units(larger.amounts, larger.jobs))
    assert found["preprocessed volumes"] == 16000
    assert found["synthetic volumes"] == pytest.approx(4 * 1000), "as large as a preprocessed one, where none was made"


@pytest.mark.parametrize(
    "files", [["demo.yaml"], ["paper.yaml"], ["demo.yaml", "demo_all.yaml"], ["small_gpu.yaml"]], ids=str
)
def test_what_is_measured_is_a_study_at_the_same_shapes(files, tmp_path):
    study = Planned([str(ROOT / "config" / file) for file in files], ["data_root=demo"])
    (tmp_path / "probe.yaml").write_text(json.dumps(probe_settings(study.config, study.asked, 7)))
    probe = Planned([str(tmp_path / "probe.yaml")], [])
    assert probe.config["preprocessing"]["size"] == study.config["preprocessing"]["size"]
    assert probe.amounts.cases == TRAIN + VAL + TEST and probe.config["systems"] == study.config["systems"]
    for name, system in study.config["system"].items():
        for part, block in system.items():
            other = probe.config["system"][name][part]
            if isinstance(block, dict) and "training" in block:
                assert other["training"]["steps"] == 7
                assert other["training"]["batch_size"] == block["training"]["batch_size"]
                block, other = ({**each, "training": None} for each in (block, other))
            assert other == block, (name, part)
