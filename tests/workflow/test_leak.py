"""Rule 1: a stage sees the cases of its own subset alone, by what its job names and by what lies where that points."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from parsed_workflow import parsed
from small_cases import make_case
from workflow import ROOT, copy_project, snakemake

from workflow_scripts.base.files import read_json, write_json

OWN = "n_real~{n_real}/train"
ALL = "every train subset"
OTHERS = "n_real~{n_real}/others"  # the next patients: the ladder's alone
# The subsets that each stage is given: nothing that trains, or that makes cases to train on, sees a test case.
GIVEN = {
    "measure_tumours": {OWN},
    "train_autoencoder": {OWN},
    "extract_latents": {OWN},
    "train_generator": set(),  # over latents; the train subset in voxel space
    "synthesize": set(),
    "gather_synthetic": set(),
    "memorisation_reference": {OWN},
    "plan_segmentation": {OWN},
    "pool_real": {OWN, "val"},
    "pool_synthetic": set(),
    "reconstruct_others": {OWN, OTHERS},
    "pool_others": {OTHERS},
    "pool_reconstructions": set(),
    "train_segmentation": set(),
    # from here on: stages that only measure, and that nothing trains on
    "predict_segmentation": {"test"},
    "score_segmentation": {"test"},
    "measure_held_out": {"val", "test"},
    "measure_reference_masks": {ALL},
    "extract_real_features": {ALL, "val", "test"},
    "extract_synthetic_features": {"val"},
    "evaluate_images": {OWN, "val", "test"},
    "measure_cost": {OWN},
    "evaluate_control": {OWN},
    "evaluate_masks": {OWN},
    "calibrate_memorisation": {OWN, "val", "test"},
    "audit_memorisation": {OWN},
    "measure_reconstruction": {OWN, "val"},
    "sample_control_sweep": {OWN},
    "pack_viewer": {OWN},
    "gather_scores": set(),
    **{f"make_figure {name}": set() for name in ("dice_vs_ratio", "ladder", "exchange")},
    "make_figure real_and_synthetic": {OWN},
    "make_figure memorisation": {OWN, "val", "test"},
    "make_figure control_sweep": set(),
    "make_table": set(),
}
TRAINS = set(list(GIVEN)[: list(GIVEN).index("predict_segmentation")])
BEFORE_SPLITS = {"demo_cohort", "find_cases", "preprocess", "merge_cohort", "split_cohort"}
OVER_SUBSETS = {"gather_scores", "make_table", "extract_real_features"}
OVER_SUBSETS |= {f"make_figure {name}" for name in ("dice_vs_ratio", "ladder", "exchange")}
# Files of evaluations that were made once for all subsets, from cases that none of them trains on.
SHARED = re.compile(r"/evaluation/(held_out_tumours|reference_masks|image_features|image_pairs)\.tsv$")


def words(job: dict) -> list[str]:
    """The paths and values that a job's program is given, and its inputs."""
    return [*shlex.split(job["params"].get("options", "")), *job["input"]]


def given(job: dict) -> set[str]:
    """The subsets whose manifests a job names."""
    found = set()
    for word in words(job):
        if word.endswith("/manifest.json"):
            found.add(word.removesuffix("/manifest.json").split("/", 2)[2].removeprefix("cohort/"))
    return found


@pytest.fixture(scope="module")
def jobs() -> list[dict]:
    """Every job of the full study: three subsets, 84 arms. Of figures, the rule is named with the figure."""
    found = [job for job in parsed()["jobs"] if job["command"]]
    for job in found:
        if job["rule"] == "make_figure":
            job["rule"] += f" {job['wildcards']['figure']}"
            job["wildcards"]["n_real"] = job["wildcards"]["place"].strip("/").removeprefix("n_real~")
    return found


def test_every_stage_is_given_its_subsets_and_no_other(jobs):
    sizes = {job["wildcards"]["n_real"] for job in jobs if job["rule"] == "train_generator"}
    assert len(sizes) == 3 and sum(job["rule"] == "train_segmentation" for job in jobs) == 84
    everywhere = {f"n_real~{size}/train" for size in sizes}
    assert {job["rule"] for job in jobs} <= set(GIVEN) | BEFORE_SPLITS | {"make_report"}
    for job in jobs:
        if job["rule"] in GIVEN:
            named = {subset.format_map(job["wildcards"]) for subset in GIVEN[job["rule"]] - {ALL}}
            assert given(job) == named | (everywhere if ALL in GIVEN[job["rule"]] else set()), job["rule"]


def test_no_stage_after_the_splits_is_told_of_the_cohort_or_of_another_subset(jobs):
    for job in jobs:
        if job["rule"] in BEFORE_SPLITS | {"make_report"}:
            continue
        for word in words(job):
            assert not re.search(r"/cohort/(volumes|shards|cases|found|splits)|/demo_cohort", word), (job["rule"], word)
        if job["rule"] not in OVER_SUBSETS and "n_real" in job["wildcards"]:
            sizes = {
                size for word in words(job) if not SHARED.search(word) for size in re.findall(r"n_real~(\d+)", word)
            }
            assert sizes <= {job["wildcards"]["n_real"]}, job["rule"]


def test_nothing_that_trains_reads_a_score_a_prediction_or_an_evaluation(jobs):
    for job in jobs:
        if job["rule"] in TRAINS:
            assert not [word for word in words(job) if re.search(r"dice\.tsv|prediction|evaluation/|tables/", word)]
        if job["rule"] in TRAINS and "segment" not in job["rule"] and "pool" not in job["rule"]:
            assert not [word for word in words(job) if "/segmentation/" in word], job["rule"]


def test_arms_share_nothing_but_plan_and_pool(jobs):
    for job in jobs:
        if job["rule"] == "train_segmentation":
            arm = str(Path(job["output"][0]).parent)
            assert not [path for path in job["input"] if "seed~" in path and not path.startswith(arm)], arm
            rung = re.search(r"/(ceiling|reconstructions)~", arm)
            made_from = "real" if "/ceiling" in arm else "reconstructions/slice_vae"
            pool = f"{arm.split('/nnunet/')[0]}/nnunet/ladder/{made_from}/cases.tsv"
            assert [word for word in words(job) if "ladder" in word] == [pool, pool] * bool(rung), arm
            assert bool(job["named"]["synthetic"]) == bool(re.search(r"/slice_ldm/(ratio|synthetic_only)~", arm)), arm


# --- what lies where a job's words point --------------------------------------------------------------------------------
QUICK = {
    "splits": {"n_real": [2, 3], "val": 1, "test": 2},
    "segmentation": {"learning_curve": [4]},
    "system_settings": {
        "slice_ldm": {
            "autoencoder": {"training": {"steps": 2, "batch_size": 2}},
            "diffusion": {"training": {"steps": 2, "batch_size": 2}},
        }
    },
}
STAGES = ("measure_tumours", "train_autoencoder", "extract_latents", "train_generator", "memorisation_reference")
STAGES += ("plan_segmentation", "pool_real", "train_segmentation", "synthesize")
LADDER = ("reconstruct_others", "pool_others", "pool_reconstructions", "train_segmentation ladder")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> tuple[Path, list[dict], dict]:
    """A project with what the training stages of two subsets make, their jobs, and the splits."""
    project = copy_project(tmp_path_factory.mktemp("leak"))
    data = tmp_path_factory.mktemp("eight patients")
    for index in range(8):
        make_case(data, f"BraTS-GLI-{index:05d}-000", seed=index)
    shutil.copy(ROOT / "tests/tiny.yaml", project)
    write_json(project / "quick.json", QUICK | {"data_root": str(data)})
    files = ("tiny.yaml", "quick.json")
    run = "results/tiny"
    wanted = [f"{run}/n_real~{size}/{name}" for size in (2, 3) for name in ("generator/slice_ldm/model.json",)]
    wanted += [f"{run}/n_real~2/memorisation/cases/reference.json", f"{run}/n_real~2/segmentation/nnunet/pool_real.tsv"]
    ladder = f"{run}/n_real~2/segmentation/nnunet/ladder"
    wanted += [f"{ladder}/real/cases.tsv", f"{ladder}/reconstructions/slice_vae/cases.tsv"]
    done = snakemake(project, "--configfile", *files, "--", *wanted)
    assert done.returncode == 0, done.stdout[-4000:]
    jobs = parsed(project, files, config="{}", everything=True)["jobs"]
    for job in jobs:
        job["rule"] += " ladder" * bool(re.search("^ceiling|/reconstructions", job["wildcards"].get("arm", "")))
    return project, jobs, read_json(project / run / "cohort/splits.json")


def seen(project: Path, job: dict, case_ids: set[str]) -> set[str]:
    """The cases that a job's program could read: named in a file that it is given, or by a file in a folder that it is.

    Who has a manifest has its folder. A link is what it points to.
    """
    files = set()
    for word in words(job):
        if word.startswith("{"):  # the settings
            continue
        path = project / word.removeprefix("@")
        path = path.parent if path.name == "manifest.json" else path
        if path.exists() and path != project:
            files |= {path} if path.is_file() else {file for file in path.rglob("*") if not file.is_dir()}
    found = set()
    for file in files:
        text = f"{file.name} {file.resolve().name}".encode()
        if file.suffix not in (".npy", ".b2nd", ".pt") and file.is_file():
            text += file.read_bytes()
        found |= {case_id for case_id in case_ids if case_id.encode() in text}
    return found


def allowed(job: dict, splits: dict) -> set[str]:
    size = job["wildcards"]["n_real"]
    validates = {"pool_real", "train_segmentation", "train_segmentation ladder"}  # a segmenter is watched on val
    others = splits["others"][size] if job["rule"] in LADDER else ()
    return {*splits["train"][size], *others, *(splits["val"] if job["rule"] in validates else ())}


def leaks(study, rule: str) -> set[str]:
    """Cases outside of their subset that jobs of a rule can see, where the files of n_real 2 are concerned."""
    project, jobs, splits = study
    everybody = {case_id for name in ("val", "test", "unused") for case_id in splits[name]} | set(splits["train"]["4"])
    own = [job for job in jobs if job["rule"] == rule and job["wildcards"]["n_real"] == "2"]
    assert own, rule
    return {case_id for job in own for case_id in seen(project, job, everybody) - allowed(job, splits)}


@pytest.mark.parametrize("rule", STAGES + LADDER)
def test_a_stage_can_see_no_case_but_those_of_its_subset(study, rule):
    assert leaks(study, rule) == set()


@pytest.mark.parametrize(
    ("place", "rule"),
    [
        ("n_real~2/train/{case}.image.npy", "measure_tumours"),
        ("n_real~2/train/{own}.image.npy", "train_autoencoder"),  # a link under the name of an own case
        ("n_real~2/train/manifest.json", "extract_latents"),
        ("n_real~2/conditions.tsv", "train_generator"),
        ("n_real~2/latents/slice_vae/latents.json", "train_generator"),
        ("n_real~2/generator/slice_ldm/model.json", "synthesize"),
        ("n_real~2/memorisation/cases/reference.json", "synthesize"),
        ("n_real~2/segmentation/nnunet/pool_real.tsv", "train_segmentation"),
        ("n_real~2/segmentation/nnunet/pool/{case}.b2nd", "train_segmentation"),
        (".state/n_real~2/generator_slice_ldm/features_of_{case}.pt", "train_generator"),
    ],
)
def test_a_planted_case_is_caught(study, place, rule):
    project, _, splits = study
    foreign, own = splits["test"][0], splits["train"]["2"][0]
    file = project / "results/tiny" / place.format(case=foreign, own=own)
    kept, target = (file.read_bytes() if file.is_file() else None), (file.readlink() if file.is_symlink() else None)
    if file.suffix == ".npy":
        file.unlink(missing_ok=True)
        file.symlink_to(project / f"results/tiny/cohort/volumes/{foreign}.image.npy")
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes((kept or b"") + (json.dumps(foreign).encode() if kept else b""))
    try:
        assert leaks(study, rule) == {foreign}
    finally:
        file.unlink()
        if target is not None:
            file.symlink_to(target)
        elif kept is not None:
            file.write_bytes(kept)
    assert leaks(study, rule) == set()


def test_a_model_that_trainings_start_from_is_looked_at_by_the_split_and_read_by_them_alone(tmp_path):
    for name in ("model.safetensors", "model.json"):
        (tmp_path / name).touch()
    training = {"training": {"start_from": str(tmp_path)}}
    systems = {"slice_ldm": {"autoencoder": training, "diffusion": training}}
    jobs = parsed(config=json.dumps({"data_root": str(tmp_path), "system_settings": systems}))["jobs"]
    readers = {job["rule"]: {Path(path).name for path in job["input"] if Path(path).parent == tmp_path} for job in jobs}
    model = {"model.safetensors", "model.json"}
    told = {"split_cohort": {"model.json"}, "train_autoencoder": model, "train_generator": model}
    assert {rule: files for rule, files in readers.items() if files} == told
    (split,) = [job for job in jobs if job["rule"] == "split_cohort"]
    assert f"--starts {tmp_path}/model.json" in split["command"]
