"""A data set is one file: what it may say, that no code says it too, and cohorts of other organs, regions and channels."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import yaml
from brats import DATASET
from raw_folders import CT, MR, raw_folder
from scipy import ndimage
from small_cases import prepare
from workflow import ROOT, copy_project, planned, snakemake

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv
from workflow_scripts.cohort.nifti import read_synthetic_case, write_nifti
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.study.dataset import parse_dataset, read_dataset

# --- one file, and no code ------------------------------------------------------------------------------------------
# What may name BraTS or a brain, and why. The simulated cohort is brains, written as cases of that data set.
ALLOWED = {
    "workflow_scripts/programs/cohort/demo_cohort.py": "",
    "workflow_scripts/study/settings/study.py": "DATASET = ",  # the default of the key
    "workflow_scripts/evaluation/lesions.py": "BraTS",  # the challenge whose definition is followed: a citation
    "workflow_scripts/evaluation/segmentation_scores.py": "BraTS",  # likewise
    "workflow_scripts/reporting/tables/augmentation_ratio.py": "as BraTS 2023 defines them",  # likewise
}


def test_no_code_names_a_modality_a_region_a_release_or_an_organ():
    words = {"brain", "brains", "brats", "oedema", "necrotic", *DATASET.modalities, *DATASET.regions, *DATASET.layouts}
    for layout in DATASET.layouts.values():
        words |= {word.lower() for word in (*layout.parts, *layout.channel_names)}
    words -= {"seg", "t1", "t2"}  # too short: tensors are called so
    pattern = re.compile(rf"(?<![a-z])({'|'.join(sorted(words))})(?![a-z])", re.IGNORECASE)
    found = []
    for path in [ROOT / "Snakefile", *ROOT.glob("rules/**/*"), *ROOT.glob("workflow_scripts/**/*")]:
        name = path.relative_to(ROOT).as_posix()
        if path.suffix not in (".py", ".smk", ".rst", ".jinja", ".js", ".css", "") or not path.is_file():
            continue
        if "/phantom" in name or "/vendor/" in name or "__pycache__" in name:
            continue
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if pattern.search(line) and not (name in ALLOWED and ALLOWED[name] in line):
                found.append(f"{name}:{number}: {line.strip()}")
    assert not found, "\n".join(found)


HOSPITAL = """
modalities: [ct]
regions: [organ, lesion]   # nested, from the outside in
layouts:
  hospital:
    example: <case>/scan_<case>.nii.gz with marks_<case>.nii.gz
    files: "{part}_{case}"
    parts: {scan: ct, marks: seg}
    labels: {7: organ, 9: lesion}
written_as: hospital
patient: (.+)_visit[0-9]+
foreground: {rule: none}
intensity: {window: {ct: [-160, 240]}}
"""
PLAIN = yaml.safe_load(HOSPITAL)
TWO = {"hospital": PLAIN["layouts"]["hospital"] | {"parts": {"scan": "ct", "mr": "mr", "marks": "seg"}}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lables": {}}, "unknown key 'lables'"),
        ({"modalities": []}, "modalities is []"),
        ({"modalities": ["ct", "ct"]}, "modalities"),
        ({"modalities": ["../x"]}, "modalities"),
        ({"modalities": ["seg"]}, "which is none of seg"),
        ({"regions": ["lesion"]}, "layouts.hospital.labels names 'organ', which is none of lesion"),
        ({"regions": ["organ", "lesion", "core"]}, "layouts.hospital.labels lack core"),
        ({"written_as": "clinic"}, "written_as must be one of the layouts"),
        ({"patient": "(.+"}, "patient is '(.+', which no id can be compared with"),
        (
            {"patient": "no group"},
            "which part of an id is the patient: the line below reads P012_2 as a case of the patient P012",
        ),
        ({"patient": 5}, "how ids are written, such as P[0-9]+_[0-9]+ for P012_2"),
        ({"region_colours": {"lesion": "red"}}, "each a colour such as '#D55E00'"),
        (
            {"layouts": {"a b": PLAIN["layouts"]["hospital"]}},
            "layouts has 'a b', which is not a name of letters, digits",
        ),
        (
            {"layouts": {"hospital": PLAIN["layouts"]["hospital"] | {"parts": {"a/b": "ct"}}}},
            "hospital.parts has 'a/b', which",
        ),
        ({"foreground": {"rule": "threshold"}}, "foreground.above goes with the rule threshold"),
        ({"foreground": {"rule": "brightness"}}, "one of zero_background, threshold, mask, none"),
        ({"intensity": {"window": {"ct": [240, -160]}}}, "must rise"),
        ({"intensity": {"window": {"ct": [float("nan"), 1]}}}, "intensity.window"),
        ({"intensity": {}}, "or `window` must be there"),
        ({"intensity": {"window": {}}}, "or `window` must be there"),
        ({"modalities": ["ct", "mr"], "layouts": TWO}, "needs every modality, where neither spreads"),
        ({"intensity": {"spreads": [-4, 10], "percentiles": [1, 99]}}, "one alone of the first two"),
        ({"intensity": {"spreads": [10, -4]}}, "must rise"),
        ({"layouts": {"hospital": PLAIN["layouts"]["hospital"] | {"files": "../{case}_{part}"}}}, "files"),
        ({"layouts": {"hospital": PLAIN["layouts"]["hospital"] | {"labels": {0: "organ"}}}}, "from 1 to 255"),
        ({"figure_modality": "mr"}, "figure_modality names 'mr', which is none of ct"),
    ],
)
def test_a_mistake_is_a_sentence(tmp_path, change, words):
    assert parse_dataset(PLAIN).written.labels == [0, 7, 9]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(PLAIN | change))
    with pytest.raises(UserError) as caught:
        read_dataset(str(path))
    assert words in str(caught.value) and str(path) in str(caught.value)


def test_a_data_set_like_another_changes_what_it_says(tmp_path):
    (tmp_path / "mine.yaml").write_text(HOSPITAL)
    other = tmp_path / "other.yaml"
    other.write_text(f"like: {tmp_path / 'mine.yaml'}\nintensity: {{window: {{ct: [0, 1]}}}}\n")
    assert read_dataset(str(other)).intensity.fixed("ct") == [0, 1]
    assert read_dataset(str(other)).layouts == parse_dataset(PLAIN).layouts
    for number, (base, words) in enumerate((("brast", "'brast' is neither one.*like: brats"), ("1.yaml", "another"))):
        wrong = tmp_path / f"{number}.yaml"
        wrong.write_text(f"like: {base.replace('1.yaml', str(wrong))}\n")
        with pytest.raises(UserError, match=f"(?s){wrong.name}: like .*{words}"):
            read_dataset(str(wrong))


def test_what_a_rule_is_handed_reads_back():
    for dataset in (DATASET, parse_dataset(PLAIN)):
        part = json.loads(json.dumps(dataset.part("foreground", "intensity")))
        again = parse_dataset(part)
        assert (again.layouts, again.written, again.intensity) == (dataset.layouts, dataset.written, dataset.intensity)


# --- cohorts that are no brains -------------------------------------------------------------------------------------
SHAPE, SPACING_MM = (36, 32, 20), (5.0, 5.0, 6.0)  # X, Y, Z


def scan(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A body in Hounsfield units, int16 (X, Y, Z), without a background of zero, and its levels: organ, lesion."""
    rng = np.random.default_rng(seed)
    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    body = (place[:2] ** 2).sum(axis=0) < 0.8
    middle = np.array([0.25, 0.0, 0.0]) + rng.uniform(-0.1, 0.1, 3)
    distance = np.linalg.norm(place - middle[:, None, None, None], axis=0)
    levels = (distance < rng.uniform(0.45, 0.55)).astype(np.uint8) + (distance < rng.uniform(0.22, 0.3))
    tissue = np.where(body, np.array([-60, 60, 160])[levels], -1000)
    return (tissue + ndimage.gaussian_filter(rng.normal(0, 60, SHAPE), 1)).astype(np.int16), levels


def write_scans(root, count: int, labels=(0, 7, 9), parts=("scan", "marks"), extra=None) -> None:
    """Cases named as `PLAIN` says; `extra`: further files of a case, {word: change of the scan}."""
    affine = np.diag([*SPACING_MM, 1.0])
    for number in range(count):
        case_id, (image, levels) = f"P{number:02d}_visit1", scan(number)
        files = dict(zip(parts, (image, np.asarray(labels, np.uint8)[levels]), strict=True))
        files |= {word: change(image) for word, change in (extra or {}).items()}
        for word, array in files.items():
            write_nifti(root / case_id / f"{word}_{case_id}.nii.gz", array, affine)


GRID = {"spacing_mm": [6.0, 6.0, 6.0], "size": [16, 32, 32]}


def cohort_of(tmp_path, dataset: dict, **config):
    own = {"dataset": dataset, "modalities": dataset["modalities"], **GRID} | config
    return prepare(tmp_path / "data", tmp_path / "out", own)


def test_a_scan_without_background_keeps_its_fixed_window(tmp_path):
    write_scans(tmp_path / "data", 2)
    out = cohort_of(tmp_path, PLAIN)
    cases, store = read_tsv(out / "cases.tsv"), VolumeStore(out / "volumes")
    assert list(cases.patient_id) == ["P00", "P01"] and (cases.organ_ml > cases.lesion_ml).all()
    assert cases.foreground_ml[0] == pytest.approx(np.prod(SHAPE) * np.prod(SPACING_MM) / 1000)
    image, meta = np.asarray(store.image("P00_visit1")[0], np.float64), store.meta("P00_visit1")
    assert meta["regions"] == ["organ", "lesion"] and meta["intensity_window"] == {"ct": [-160, 240]}
    assert set(np.unique(store.levels("P00_visit1"))) == {0, 1, 2}
    levels = np.asarray(store.levels("P00_visit1"))
    assert image[levels == 2].mean() == pytest.approx((160 + 160) / 200 - 1, abs=0.1), "160 HU of -160 to 240"
    assert image[levels == 1].mean() == pytest.approx((60 + 160) / 200 - 1, abs=0.1)


@pytest.mark.parametrize("rule", ["threshold", "mask"])
def test_a_foreground_by_threshold_and_as_a_file(tmp_path, rule):
    foreground = {"rule": rule} | ({"above": -500} if rule == "threshold" else {})
    dataset = PLAIN | {"foreground": foreground, "intensity": {"percentiles": [1, 99]}}
    if rule == "mask":
        parts = {"scan": "ct", "marks": "seg", "body": "foreground"}
        dataset["layouts"] = {"hospital": PLAIN["layouts"]["hospital"] | {"parts": parts}}
    write_scans(tmp_path / "data", 1, extra={"body": lambda image: (image > -500).astype(np.uint8)})
    out = cohort_of(tmp_path, dataset)
    (case,) = read_tsv(out / "cases.tsv").itertuples()
    body_ml = np.count_nonzero(scan(0)[0] > -500) * np.prod(SPACING_MM) / 1000
    assert case.foreground_ml == pytest.approx(body_ml)
    outside = np.asarray(VolumeStore(out / "volumes").image("P00_visit1"))[0, :, 0, 0]
    assert (outside == -1).all()


def test_a_case_beyond_the_bounds_is_refused_by_kind(tmp_path):
    write_scans(tmp_path / "data", 1)
    for bounds, words in (
        ({"spacing_mm": [0.2, 5.5]}, "voxel edges of 5, 5, 6 mm, not 0.2 to 5.5"),
        ({"foreground_ml": [500, 2500]}, "a foreground of 3456 ml, not 500 to 2500"),
    ):
        with pytest.raises(UserError, match=words):
            cohort_of(tmp_path, PLAIN | {"bounds": bounds})


# --- studies --------------------------------------------------------------------------------------------------------
def two_channels(dataset: dict) -> dict:
    parts = {"scan": "ct", "pet": "pet", "marks": "seg"}
    layout = dataset["layouts"]["hospital"] | {"parts": parts}
    window = {"ct": [-160, 240], "pet": [0, 400]}
    return dataset | {"modalities": ["ct", "pet"], "layouts": {"hospital": layout}, "intensity": {"window": window}}


VARIANTS = {
    "one channel, two regions": PLAIN,
    "two channels": two_channels(PLAIN),
    "one region": PLAIN
    | {
        "regions": ["organ"],
        "layouts": {"hospital": PLAIN["layouts"]["hospital"] | {"labels": {7: "organ", 9: "organ"}}},
    },
    "four regions": PLAIN
    | {
        "regions": ["organ", "lesion", "core", "seed"],
        "layouts": {
            "hospital": PLAIN["layouts"]["hospital"] | {"labels": {7: "organ", 9: "lesion", 11: "core", 12: "seed"}}
        },
    },
    "foreground by threshold": PLAIN | {"foreground": {"rule": "threshold", "above": -500}},
}


def study_of(project, dataset: dict, *more: str) -> list[str]:
    """Arguments of a study of a data set that is given by its path; makes its folder of cases."""
    (project / "data").mkdir(exist_ok=True)
    (project / "mine.yaml").write_text(yaml.safe_dump(dataset))
    where = [f"data_root={project / 'data'}", "dataset=mine.yaml", "run=mine"]
    return ["--configfile", str(ROOT / "tests/tiny.yaml"), *more, "--config", *where]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_study_of_another_data_set_is_planned_whole(tmp_path, name):
    project = copy_project(tmp_path)
    jobs = planned(project, *study_of(project, VARIANTS[name]))
    assert jobs["train_segmentation"] == 5 and jobs["make_table"] >= 8


@pytest.mark.parametrize("content", [CT, MR], ids=["one channel", "two channels, two organs"])
def test_a_raw_folder_with_a_dataset_json_is_planned_whole(tmp_path, content):
    project = copy_project(tmp_path)
    raw_folder(tmp_path / "Dataset123_X", content, 1, numbered=content is CT)
    where = ["--config", f"data_root={tmp_path / 'Dataset123_X'}", "dataset=nnunet", "run=raw"]
    jobs = planned(project, "--configfile", str(ROOT / "tests/tiny.yaml"), *where)
    assert jobs["train_segmentation"] == 5 and jobs["preprocess"] == 2


def test_a_data_set_of_existing_form_is_one_file(tmp_path):
    project = copy_project(tmp_path)
    (project / "config/datasets/mine.yaml").write_text(HOSPITAL)
    (project / "data").mkdir()
    arguments = ["--configfile", str(ROOT / "tests/tiny.yaml"), "--config", f"data_root={project / 'data'}"]
    assert planned(project, *arguments, "dataset=mine", "run=mine")["preprocess"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one channel, two regions", "one region"])
def test_a_study_of_another_data_set_runs_to_its_tables(tmp_path, name):
    """From its own files to cases in its own names and labels, and to scores of its own regions."""
    project, dataset = copy_project(tmp_path), VARIANTS[name]
    write_scans(project / "data", 8, labels=(0, 7, 9))
    fast = {"synthesis": {"max_redraws": 400}, "preprocessing": {"size": [24, 32, 32]}}
    (project / "fast.yaml").write_text(yaml.safe_dump(fast))
    done = snakemake(project, *study_of(project, dataset, str(project / "fast.yaml")))
    assert done.returncode == 0, done.stdout[-6000:]
    results = project / "results/mine"
    table = read_tsv(next(iter(results.glob("**/dice.tsv"))))
    assert list(dict.fromkeys(table.region)) == dataset["regions"]
    folder = next(iter(results.glob("n_real~4/synthetic/slice_ldm/*-000")))
    assert sorted(path.name.split("_")[0] for path in folder.glob("*.nii.gz")) == ["marks", "scan"]
    image, levels = read_synthetic_case(folder, folder.name, ["ct"])
    assert image.shape == (1, 24, 32, 32) and levels.max() <= len(dataset["regions"])
    assert (results / "report.html").is_file()


@pytest.mark.slow
def test_a_raw_folder_of_two_channels_and_two_organs_runs_to_its_tables(tmp_path):
    project = copy_project(tmp_path)
    root = raw_folder(tmp_path / "Dataset123_X", MR, 8, numbered=True, apart=True)
    fast = {"synthesis": {"max_redraws": 400}, "preprocessing": {"size": [24, 32, 32]}}
    (project / "fast.yaml").write_text(yaml.safe_dump(fast))
    where = ["--config", f"data_root={root}", "dataset=nnunet", "run=raw"]
    done = snakemake(project, "--configfile", str(ROOT / "tests/tiny.yaml"), str(project / "fast.yaml"), *where)
    assert done.returncode == 0, done.stdout[-6000:]
    results = project / "results/raw"
    table = read_tsv(next(iter(results.glob("**/dice.tsv"))))
    assert list(dict.fromkeys(table.region)) == ["PZ_and_TZ", "TZ"]
    folder = next(iter(results.glob("n_real~4/synthetic/slice_ldm/*-000")))
    assert sorted(path.name.rsplit("_", 1)[1] for path in folder.glob("*.nii.gz")) == [
        "ADC.nii.gz",
        "T2.nii.gz",
        "seg.nii.gz",
    ]
    assert "PZ alone has no score" in (results / "report.html").read_text("utf-8")
