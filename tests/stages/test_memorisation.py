"""The memorisation audit through its programs: copies of training cases are caught in any disguise, other cases are not."""

import json
import logging

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from brats import LOOKS, REGIONS
from planted import DISGUISES, audit, calibrate, make_reference, plant, volumes_of
from small_cases import prepare
from study_files import write_table
from subsets import subset_options

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, read_tsv, write_json, write_tsv
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.memorisation.reference import limits_of, load_reference, nearest
from workflow_scripts.programs.cohort import demo_cohort
from workflow_scripts.programs.reporting import make_figure

TRAIN = 8
PLANES = {"planes": ["axial"]}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Twenty simulated patients at 5 mm: eight to train, seven held out, five that no set holds."""
    folder = tmp_path_factory.mktemp("cohort")
    config = json.dumps({"cases": 20, "spacing_mm": 5.0, "tumour_volume_ml": [10, 90], "seed": 3})
    where = ["--out", str(folder / "data"), "--manifest", str(folder / "manifest.tsv")]
    demo_cohort.main(["--config", config, *where, "--threads", "1"])
    prepare(folder / "data", folder, {"spacing_mm": [5.0, 5.0, 5.0], "size": [32, 40, 40]})
    ids = list(read_tsv(folder / "cases.tsv").case_id)
    assert len(ids) == 20
    splits = {"seed": 0, "train": {str(TRAIN): ids[:8]}, "val": ids[8:10], "test": ids[10:15], "unused": ids[15:]}
    write_json(folder / "splits.json", splits)
    calibrate(folder, TRAIN, **PLANES)
    return folder


@pytest.fixture(scope="module")
def splits(cohort):
    return read_json(cohort / "splits.json")


@pytest.fixture(scope="module")
def mixed(cohort, splits):
    """The audit of disguised copies of the second training case, then of five patients that no stage has seen."""
    source = splits["train"][str(TRAIN)][1]
    meta = VolumeStore(cohort / "volumes").meta(source)
    copies = [disguise(*volumes_of(cohort, source)) for disguise in DISGUISES.values()]
    strangers = [volumes_of(cohort, case_id) for case_id in splits["unused"]]
    table, summary = audit(cohort, TRAIN, plant(cohort, "mixed", copies + strangers, meta), images=PLANES)
    synthetic = table[table.group == "synthetic"].reset_index(drop=True)
    return source, synthetic.iloc[: len(copies)], synthetic.iloc[len(copies) :], table, summary


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_copy_in_any_disguise_is_caught_and_traced_to_its_training_case(mixed, disguise):
    source, copies, _, _, _ = mixed
    row = copies.iloc[list(DISGUISES).index(disguise)]
    assert row.is_copy and row.gate_refuses
    assert row.nearest_train_id == source
    assert row.flipped == (disguise in ("flipped", "all at once"))


def test_the_pose_of_a_copy_is_undone(mixed):
    _, copies, _, _, _ = mixed
    row = copies.iloc[list(DISGUISES).index("shifted")]
    assert (row.shift_z_mm, row.shift_y_mm, row.shift_x_mm) == (-5.0, 0.0, 5.0)
    assert row.similarity > 0.99
    assert row.mask_dice > 0.99


def test_other_patients_are_no_copies(mixed):
    _, copies, strangers, _, _ = mixed
    assert not strangers.is_copy.any()
    assert not strangers.gate_refuses.any()
    assert strangers.similarity.max() < copies.similarity.min()


def test_features_know_a_copy_and_its_mirror_image(mixed):
    source, copies, strangers, _, _ = mixed
    for disguise in ("copy", "flipped", "shifted"):
        row = copies.iloc[list(DISGUISES).index(disguise)]
        assert row.feature_is_copy, disguise
        assert row.feature_nearest_train_id == source
    assert not strangers.feature_is_copy.any()


def test_a_blurred_average_brain_is_near_but_no_copy(cohort, splits):
    """It correlates with each brain better than two brains do, and holds nobody's image."""
    train = [volumes_of(cohort, case_id) for case_id in splits["train"][str(TRAIN)]]
    brains = np.stack([image > -1 for image, _ in train])
    sums = sum(np.where(image > -1, image, 0) for image, _ in train)
    average = np.where(brains.mean(axis=0) >= 0.5, np.clip(sums / np.maximum(brains.sum(axis=0), 1), -0.999, 1), -1)
    meta = VolumeStore(cohort / "volumes").meta(splits["val"][0])
    table, summary = audit(cohort, TRAIN, plant(cohort, "average", [(average, train[0][1])], meta), images=PLANES)
    row = table.iloc[0]
    by_image = summary[(summary.measure == "image") & (summary.thresholds_from == "held_out")].iloc[0]
    assert row.similarity > by_image.similarity_threshold
    assert by_image.synthetic_above_similarity == 1
    assert not row.is_copy and not row.gate_refuses
    assert row.mask_dice == pytest.approx(1.0)
    assert row.mask_nearest_train_id == splits["train"][str(TRAIN)][0]


def test_the_table_holds_every_case_and_its_group(mixed, splits):
    *_, table, _ = mixed
    groups = {name: list(rows.case_id) for name, rows in table.groupby("group", sort=False)}
    assert groups["held_out"] == splits["val"] + splits["test"]
    assert groups["train"] == splits["train"][str(TRAIN)]
    assert len(groups["synthetic"]) == len(DISGUISES) + 5
    train = table[table.group == "train"]
    assert (train.nearest_train_id != train.case_id).all(), "a training case is compared with the others"


def test_the_summary_counts_and_says_what_few_patients_can_promise(mixed):
    _, copies, strangers, table, summary = mixed
    by = summary.set_index(["thresholds_from", "measure"])
    assert (summary.n_synthetic == len(copies) + len(strangers)).all()
    assert by.copies["held_out", "image"] == by.copies["train", "image"] == len(DISGUISES)
    assert by.false_positive_rate["held_out", "image"] == pytest.approx(1 / 8, abs=1e-6)
    assert by.false_positive_rate["train", "image"] == pytest.approx(1 / 9, abs=1e-6)
    held_out = table[table.group == "held_out"]
    assert by.margin_threshold["held_out", "image"] == held_out.margin.max()
    assert by.similarity_threshold["held_out", "image"] == held_out.similarity.max()
    assert (summary.n_control == 0).all(), "planted cases come from no generator"
    assert by.held_out_above["train", "image"] == held_out.gate_refuses.sum()
    assert np.isnan(by.held_out_above["held_out", "image"])


def test_the_reference_reads_the_train_subset_alone(cohort, splits, tmp_path):
    """Without the held-out volumes the same reference comes out, byte by byte."""
    folder = make_reference(cohort, TRAIN)
    before = [(folder / name).read_bytes() for name in ("reference.safetensors", "reference.json")]
    own = VolumeStore(cohort / "volumes")
    alone = VolumeStore(tmp_path / "volumes")
    for case_id in splits["train"][str(TRAIN)]:
        alone.save(case_id, own.image(case_id), own.levels(case_id), own.meta(case_id))
    for name in ("cases.tsv", "splits.json"):
        (tmp_path / name).write_bytes((cohort / name).read_bytes())
    folder = make_reference(tmp_path, TRAIN)
    assert [(folder / name).read_bytes() for name in ("reference.safetensors", "reference.json")] == before


def test_time_points_of_one_patient_do_not_judge_each_other():
    similarities = np.array([0.9, 0.3, 0.4, 0.2])
    patients = ["a", "b", "b", "c"]
    found = nearest(similarities, patients)
    assert (found.index, found.similarity) == (0, 0.9)
    assert found.margin == pytest.approx(np.arctanh(0.9) - np.median(np.arctanh([0.4, 0.2])))
    assert nearest(similarities, patients, left_out="a").index == 2
    assert nearest(similarities[1:3], patients[1:3]).margin == pytest.approx(np.arctanh(0.4)), "with one patient alone"
    with pytest.raises(UserError, match="at least two patients"):
        nearest(similarities[1:3], patients[1:3], left_out="b")
    limits = limits_of(["b", "b", "c"], [0.1, 0.7, 0.5], [0.3, 0.2, 0.1], 0.5)
    assert (limits.similarity.value, limits.margin.value) == (0.7, 0.3), "a patient counts once, with the largest"
    assert limits.similarity.n == 2
    assert limits.exceeded(0.31) and not limits.exceeded(0.3)


def test_copies_are_warned_of_if_asked(cohort, splits, caplog):
    source = splits["train"][str(TRAIN)][0]
    meta = VolumeStore(cohort / "volumes").meta(source)
    folder = plant(cohort, "warned", [volumes_of(cohort, source)], meta)
    with caplog.at_level(logging.WARNING, logger="sliceaug"):
        audit(cohort, TRAIN, folder, action="audit", images=PLANES)
        assert not caplog.records
        _, summary = audit(cohort, TRAIN, folder, action="warn", images=PLANES)
    assert f"SliceAug-00000-000 is a copy of training case {source}" in caplog.records[0].getMessage()
    assert set(summary.action) == {"warn"}


def table_of(folder, summaries, *options):
    paths = []
    for index, summary in enumerate(summaries):
        paths.append(folder / f"{index}.tsv")
        write_tsv(paths[-1], summary)
    stem = folder / "memorisation"
    write_table("memorisation", stem.with_suffix(".csv"), *options, summaries=paths)
    return pd.read_csv(f"{stem}.csv"), stem.with_suffix(".md").read_text(), stem.with_suffix(".tex").read_text()


def test_the_table_shows_share_interval_and_warning(mixed, tmp_path):
    *_, summary = mixed
    warned = summary.assign(system="lsgan_3d", action="warn")
    table, text, latex = table_of(tmp_path, [summary, warned], "--simulated")
    assert list(table.system.unique()) == ["slice_ldm", "lsgan_3d"]
    row = table[(table.measure == "image") & (table.thresholds_from == "held_out")].iloc[0]
    assert row["share"] == pytest.approx(len(DISGUISES) / (len(DISGUISES) + 5), abs=1e-5)
    assert 0 < row.share_low < row["share"] < row.share_high < 1
    for words in (
        f"{len(DISGUISES)} of {len(DISGUISES) + 5} (58 %) [28, 85]",
        "7 held-out patients",
        "SIMULATED COHORT",
    ):
        assert words in text and words.replace("%", r"\%") in latex
    assert text.count("WARNING") == 2, "a sentence for each measure"
    assert (
        "WARNING: 7 of 12 synthetic cases of lsgan_3d (8 real patients) are copies of training cases by aligned images"
        in text
    )
    by = warned.set_index(["thresholds_from", "measure"]).copies["held_out", "features"]
    assert (
        f"WARNING: {by} of 12 synthetic cases of lsgan_3d (8 real patients) are copies of training cases by image features"
        in text
    )
    assert "(feature_is_copy). The release gate does not look at features." in text
    without = table_of(tmp_path, [warned.assign(copies=warned.copies.where(warned.measure == "image", 0))])[1]
    assert without.count("WARNING") == 1


def pairs_figure(cohort, audit, out, *options, **figures):
    config = {"figures": {"cases": 4, "modality": "t2f"} | figures, "regions": list(REGIONS), "looks": LOOKS}
    make_figure.main(
        [
            *("--figure", "memorisation", *subset_options(cohort, "train", "val", "test"), "--audit", str(audit)),
            *("--synthetic", str(cohort / "mixed/cases.tsv"), "--system", "slice_ldm", "--n-real", "8"),
            *("--out", str(out), "--config", json.dumps(config), *options),
        ]
    )


def test_nearest_pairs_are_drawn(mixed, cohort, tmp_path):
    def draw(name, *options, **config):
        pairs_figure(cohort, cohort / "mixed/audit/memorisation.tsv", tmp_path / name, *options, **config)
        return tmp_path / name

    first = draw("a.png", cases=3)
    picture = matplotlib.image.imread(first)[..., :3]
    assert picture.std() > 0.1
    assert first.read_bytes() == draw("b.png", cases=3).read_bytes()
    text = draw("c.svg", "--simulated", cases=len(DISGUISES)).read_text()
    assert text.count(": COPY") == len(DISGUISES)
    for words in ("SIMULATED COHORT", "mirrored, shift (0, -5, 5) mm", "simulated held-out case, for comparison"):
        assert words in text
    with pytest.raises(UserError, match="modality 'flair' is not in the volumes"):
        draw("d.png", modality="flair")


def test_the_aligned_copy_leaves_no_difference(mixed, cohort, tmp_path):
    """Blue and red are the difference of case and training case: a mirrored, shifted copy must show none."""
    table = read_tsv(cohort / "mixed/audit/memorisation.tsv")
    names = list(DISGUISES)
    for name, coloured in (("flipped", False), ("shifted", False), ("noisy", True)):
        write_tsv(tmp_path / "one.tsv", table.iloc[[names.index(name)]])
        pairs_figure(cohort, tmp_path / "one.tsv", tmp_path / "one.png")
        picture = matplotlib.image.imread(tmp_path / "one.png")[..., :3]
        # the tumour's contour is yellow: of colours only red and blue without green tell a difference
        vivid = (picture.max(axis=-1) - picture.min(axis=-1) > 0.25) & (picture[..., 1] < 0.75)
        assert (vivid.sum() > 200) == coloured, name


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda folder: (folder / "reference.safetensors").write_bytes(b"x"), "is not the file that reference.json"),
        (lambda folder: (folder / "reference.safetensors").unlink(), "holds no training set to compare with"),
        (lambda folder: (folder / "reference.json").unlink(), "missing file"),
    ],
)
def test_a_damaged_reference_is_refused_in_words(cohort, tmp_path, break_it, words):
    for name in ("reference.safetensors", "reference.json"):
        (tmp_path / name).write_bytes((cohort / f"n_real~{TRAIN}/memorisation" / name).read_bytes())
    load_reference(tmp_path)
    break_it(tmp_path)
    with pytest.raises(UserError, match=words):
        load_reference(tmp_path)


def test_what_cannot_be_audited_is_refused_in_words(cohort, splits):
    meta = VolumeStore(cohort / "volumes").meta(splits["val"][0])
    with pytest.raises(UserError, match="nothing to audit"):
        audit(cohort, TRAIN, plant(cohort, "none", [], meta), images=PLANES)
    small = np.zeros((4, 8, 8, 8), np.float32), np.zeros((8, 8, 8), np.uint8)
    with pytest.raises(UserError, match=r"case SliceAug-00000-000 has shape \(4, 8, 8, 8\)"):
        audit(cohort, TRAIN, plant(cohort, "small", [small], meta), images=PLANES)
    with pytest.raises(UserError, match="planes is"):
        audit(cohort, TRAIN, cohort / "mixed", images={"planes": ["oblique"]})
