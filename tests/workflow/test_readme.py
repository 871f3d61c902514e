"""Every command of README.md, of config/README.md and of docs/ is typed here again: planned, not run, so that it takes seconds."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import warm
from workflow import ROOT, copy_project, snakemake

from workflow_scripts.study.settings.evaluation import ImageFeatures

PLANS = (
    *("README.md", "config/README.md", "envs/README.md", "slurm/README.md"),
    *(f"docs/{name}.md" for name in ("index", "running", "few_patients")),
)
TYPED = (
    *(file for file in PLANS if file != "envs/README.md"),
    *(f"docs/{name}.md" for name in ("hardware_and_hours", "troubleshooting", "what_you_can_rely_on")),
    "CONTRIBUTING.md",
)
STAGES = {"cohort": "split_cohort", "generator": "train_generator", "synthetic": "synthesize", "export": "export_mix"}


def commands() -> list[str]:
    found = []
    for file in TYPED:
        for block in re.findall(r"```bash\n(.*?)```", (ROOT / file).read_text(), flags=re.DOTALL):
            found += [line for line in block.splitlines() if line.strip()]
        found += re.findall(r"`((?:make|\.venv/bin/snakemake) [^`…]+)`", (ROOT / file).read_text())
    return sorted(set(found))


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """With the models that the command before `start_from` makes: to plan what starts from them, their names are enough."""
    folder = copy_project(tmp_path_factory.mktemp("readme"))
    for model in ("autoencoder/slice_vae", "generator/slice_ldm"):
        for name in ("model.safetensors", "model.json"):
            file = folder / "results/pretraining/n_real~200" / model / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    return folder


def test_the_readme_has_commands():
    assert {"make demo", "make test", "make test-slow"} <= set(commands())
    assert len(commands()) >= 7


@pytest.mark.parametrize("command", [line for line in commands() if line.startswith("make")])
def test_make_target_exists(command):
    done = subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [line for line in commands() if "snakemake" in line.split()[0]])
def test_snakemake_command_plans_its_jobs(project, tmp_path, command):
    words = [re.sub(r"/data/\w+", str(tmp_path), word) for word in shlex.split(command)[1:]]
    done = snakemake(project, *words, "--dry-run") if words[-1] != "-n" else snakemake(project, *words)
    assert done.returncode == 0, done.stdout
    assert next((STAGES[word] for word in words if word in STAGES), "train_segmentation") in done.stdout


@pytest.mark.parametrize("command", [line for line in commands() if "workflow_scripts" in line])
def test_program_knows_its_options(project, command):
    """Without model, arm or run the program must fail for their sake, not for an option it does not know."""
    done = subprocess.run([warm.python(), *shlex.split(command)[1:]], cwd=project, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.search(r"error: .*(results/demo|tumours\.csv)", done.stderr)
    assert "usage:" not in done.stderr


@pytest.mark.parametrize("file", PLANS)
def test_what_plans_a_study_names_its_data(file):
    """Copied as it stands, it must not end with the sentence that data_root is to be given."""
    text = (ROOT / file).read_text()
    lines = [
        line for block in re.findall(r"```(?:bash)?\n(.*?)```", text, flags=re.DOTALL) for line in block.splitlines()
    ]
    lines += re.findall(r"`((?:make slurm-check|\.venv/bin/snakemake) [^`…]+)`", text)
    planning = [line for line in lines if re.search(r"snakemake --|make slurm-check", line)]
    assert planning and all("data_root=" in line for line in planning), planning


SECTIONS = (ROOT / "docs/extending.md").read_text().split("\n## ")[1:]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.splitlines()[0])
def test_what_one_adds_by_the_docs_is_what_a_test_adds(section):
    """Each section's code stands in the test that it names, and the files that it speaks of exist."""
    (test,) = set(re.findall(r"`(tests/[^`]+)`", section))
    blocks = re.findall(r"```\w+\n(.*?)\n```", section, flags=re.DOTALL)
    assert blocks and all(block in (ROOT / test).read_text() for block in blocks)
    made = {"workflow_scripts/diffusion/regression.py"}
    for path in set(re.findall(r"`((?:workflow_scripts|config|segmentation|diffusion)/[^`<]*)`", section)) - made:
        assert (ROOT / path).exists() or (ROOT / "workflow_scripts" / path).exists(), path


def make(folder: Path, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run(["make", *words], cwd=folder, capture_output=True, text=True)


def test_make_alone_lists_every_target_and_before_installation_says_what_to_do(tmp_path):
    text = (ROOT / "Makefile").read_text()
    (tmp_path / "Makefile").write_text(text)
    targets = re.search(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE)[1].split()
    listed = make(tmp_path).stdout
    assert "make install` does that" in listed
    assert [name for name in targets if not re.search(rf"^  make {name} +\w", listed, flags=re.MULTILINE)] == [
        "clean-demo"
    ]
    for name in re.findall(r"^([a-z-]+):(?: +##.*)?\n\t\$\(NEEDS_INSTALL\)", text, flags=re.MULTILINE):
        done = make(tmp_path, name)
        assert done.returncode and "`make install` first" in done.stdout, name


def test_speeds_are_those_of_the_benchmarks_file():
    text = " ".join((ROOT / "docs/hardware_and_hours.md").read_text().split())
    found = json.loads((ROOT / "docs/benchmarks/networks_h200.json").read_text())
    assert f"`.venv/bin/{found['command']}`" in text and f"On one {found['device'].split(',')[0]}" in text
    ours, theirs = found["rows"][::2], found["rows"][1::2]
    steps = [f"{1 / row['train_seconds']:.1f}" for row in ours]
    assert "slice autoencoder at {} and the denoiser at {} steps/s".format(*steps) in text
    ratios = {
        key: [f"{b[key] / a[key]:.2f}" for a, b in zip(ours, theirs, strict=True)]
        for key in ("train_seconds", "forward_seconds")
    }
    assert "{} and {} times the speed of MONAI's".format(*ratios["train_seconds"]) in text
    assert "(forward {} and {};".format(*ratios["forward_seconds"]) in text
    rows = json.loads((ROOT / "docs/benchmarks/networks_cpu.json").read_text())["rows"]
    on_cpu = [b["train_seconds"] / a["train_seconds"] for a, b in zip(rows[::2], rows[1::2], strict=True)]
    assert "the ratios in training are {:.2f} and {:.2f}".format(*on_cpu) in text


def test_the_demos_minutes_are_those_of_its_files():
    text = (ROOT / "docs/hardware_and_hours.md").read_text()
    runs = pd.read_csv(ROOT / "docs/benchmarks/demo_runs.csv")
    stages = pd.read_csv(ROOT / "docs/benchmarks/demo_stages.csv").set_index("stage")
    assert f"its {runs.jobs[0]} jobs" in " ".join(text.split()) and stages.jobs["train_segmentation"] == 6
    shown = ["all stages", "train_segmentation", "train_autoencoder", "train_generator"]
    rows = []
    for run in runs.itertuples():
        minutes = [run.wall_s / 60, *stages.loc[shown, f"run_{run.run}_minutes"]]
        rows.append(f"| {run.arithmetic} | " + " | ".join(f"{value:.1f}" for value in minutes) + " |")
    assert re.findall(r"^\| AVX.*$", text, flags=re.MULTILINE) == rows


def test_what_the_estimate_said_and_what_the_study_took_are_those_of_its_file():
    text = " ".join((ROOT / "docs/hardware_and_hours.md").read_text().split())
    said = pd.read_csv(ROOT / "docs/benchmarks/estimate_coarse.csv").set_index("stage")
    jobs, wall, scoring = (said.loc[row] for row in ("all stages", "wall", "score_segmentation"))
    for column, sentence in (
        ("estimated_minutes", "it said {} minutes of jobs and {} on two cores"),
        ("took_minutes", "they took {} and {} ("),
    ):
        assert sentence.format(jobs[column], wall[column]) in text
    assert f"at {scoring.estimated_minutes} minutes for {scoring.took_minutes}" in text


def test_what_fewer_slices_do_to_fid_is_that_of_its_file():
    text = " ".join((ROOT / "docs/hardware_and_hours.md").read_text().split())
    timed = json.loads((ROOT / "docs/benchmarks/images_cpu.json").read_text())
    ratio = timed["every_slice_seconds_per_volume"] / timed["feature_seconds_per_volume"]
    wanted = f"take {timed['feature_seconds_per_volume']:.1f} s on one thread of a CPU, {ratio:.1f} times as fast as of every slice"
    assert wanted in text
    found = pd.read_csv(ROOT / "docs/benchmarks/fid_slices.csv").set_index(["plane", "slice_step_mm"])
    for plane in ("axial", "coronal", "sagittal"):
        every, spread = found.loc[(plane, 0)], found.loc[(plane, ImageFeatures().slice_step_mm)]
        assert re.search(
            rf"{every.floor} and {spread.floor} \({plane}, [a-z ]*{every.floor_standard_error}[);]", text
        ), plane
        assert abs(spread.floor - every.floor) < 1.96 * every.floor_standard_error


def test_the_readmes_ladder_is_that_of_the_studys_file():
    table = pd.read_csv(ROOT / "docs/studies/simulated_gpu_kinds.csv")
    table = table[(table.kind == "with") & (table.n_real == 3) & (table.region == "tumor_core")]
    shown = table[table.system.isin(["none", "slice_vae", "slice_ldm_edit"])].set_index("rung")
    text = (ROOT / "README.md").read_text()
    assert f"| the reference | {shown.dice_mean['real only']:.3f} |".replace("| 0.", "| .") in text
    for rung in ("ceiling", "reconstructions", "system"):
        numbers = [
            f"{float(shown[column][rung]):+.3f}".replace("0.", ".", 1) for column in ("gain", "gain_low", "gain_high")
        ]
        assert "| {} [{}, {}] |".format(*numbers) in text, rung
