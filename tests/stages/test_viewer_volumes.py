"""The volumes of the report's viewer: where and what they were, within the limit, and no patient's without leave."""

import base64
import gzip
import json
import re

import nibabel
import numpy as np
import pytest
from report_files import add_synthetic, viewer_file

from workflow_scripts.base.files import read_tsv, sha256_file, write_tsv
from workflow_scripts.base.provenance import ROOT
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.reporting.report.viewer_volumes import coarser, pack, viewed_case
from workflow_scripts.study.generators import AUGMENTATION_ONLY


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, preprocessed_cohort):
    return add_synthetic(preprocessed_cohort(tmp_path_factory.mktemp("viewer"), cases=5))


def packed(cohort, tmp_path, *options, **config):
    return json.loads(viewer_file(cohort, tmp_path / "viewer.json", *options, **config).read_text())


def image(case, name):
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(case["volumes"][name])))


def test_a_volume_is_where_it_was_and_what_it_was(cohort, tmp_path):
    store = VolumeStore(cohort / "volumes")
    for case in packed(cohort, tmp_path, "--simulated")["cases"][:2]:
        meta = store.meta(case["case_id"])
        for name in ("t1c", "mask"):
            volume = image(case, name)
            original = store.levels(case["case_id"]) if name == "mask" else store.image(case["case_id"])[1]
            assert volume.get_data_dtype() == np.uint8
            values = np.asarray(volume.dataobj)
            empty = np.array(original) <= (0 if name == "mask" else -1)
            assert (values > 0).sum() == pytest.approx((~empty).sum(), rel=0.01), "nothing but background is cropped"
            inside = np.argwhere(values > 0)[::97]
            mm = nibabel.affines.apply_affine(volume.affine, inside)
            w, h, d = np.rint(nibabel.affines.apply_affine(np.linalg.inv(meta["affine"]), mm)).astype(int).T
            found = original[d, h, w].astype(float)
            shown = values[tuple(inside.T)].astype(float)
            assert np.abs(shown - (found if name == "mask" else (found + 1) * 127.5)).max() <= 0.51
        assert image(case, "mask").shape == image(case, "t1c").shape
        assert np.asarray(image(case, "mask").dataobj)[tuple(case["voxel"])] > 0, "it opens in the tumour"


def test_synthetic_cases_are_the_first_by_number_and_say_so_in_their_headers(cohort, tmp_path):
    cases = packed(cohort, tmp_path, "--simulated", cases=1)["cases"]
    assert [(case["kind"], case["case_id"]) for case in cases][1:] == [("synthetic", "SliceAug-00000-000")]
    assert cases[0]["kind"] == "simulated"
    assert b"synthetic" in image(cases[1], "t2f").header["descrip"].item()


def test_real_patients_stay_out_unless_the_user_lets_them_in(cohort, tmp_path):
    ids = set(read_tsv(cohort / "cases.tsv").case_id)
    text = viewer_file(cohort, tmp_path / "viewer.json").read_text()
    assert not [case_id for case_id in ids if case_id in text]
    assert {case["kind"] for case in json.loads(text)["cases"]} == {"synthetic"}
    cases = packed(cohort, tmp_path, real_volumes=True)["cases"]
    assert [case["kind"] for case in cases] == ["real", "real", "synthetic", "synthetic"]
    held_out = set(json.loads((cohort / "splits.json").read_text())["test"])
    assert {case["case_id"] for case in cases[:2]} <= ids - held_out, "patients of the training subset"


def test_a_case_made_in_a_patient_stays_out_as_the_patient_does(cohort, tmp_path):
    path = cohort / "synthetic/cases.tsv"
    table = read_tsv(path)
    write_tsv(path, table.assign(host="C", use=AUGMENTATION_ONLY))
    assert not packed(cohort, tmp_path)["cases"]
    assert [case["kind"] for case in packed(cohort, tmp_path, real_volumes=True)["cases"]][2:] == ["synthetic"] * 2
    write_tsv(path, table)


def test_volumes_get_coarser_until_they_fit(cohort, tmp_path):
    whole = packed(cohort, tmp_path, "--simulated")
    size = sum(len(text) for case in whole["cases"] for text in case["volumes"].values())
    assert whole["step"] == 1
    small = packed(cohort, tmp_path, "--simulated", viewer_megabytes=0.4 * size / 1e6)
    assert small["step"] == 2
    assert small["spacing_mm"] == [2 * edge for edge in whole["spacing_mm"]]
    assert sum(len(text) for case in small["cases"] for text in case["volumes"].values()) <= 0.4 * size
    none = packed(cohort, tmp_path, "--simulated", viewer_megabytes=0.0001)
    assert (none["step"], none["cases"]) == (None, [])
    assert packed(cohort, tmp_path, "--simulated", viewer_megabytes=0)["cases"] == []


def test_a_coarse_voxel_is_the_mean_of_those_it_covers():
    rng = np.random.default_rng(0)
    volume = rng.uniform(-1, 1, (7, 9, 10))
    levels = np.zeros(volume.shape, np.uint8)
    levels[2:4, 4:6, 6:8] = 3
    levels[4, 4:6, 6:8] = 2  # half of its coarse voxel
    affine = np.array([[2.0, 0, 0, 5], [0, 3, 0, 7], [0, 0, 4, -9], [0, 0, 0, 1]])
    fine = viewed_case("a", "synthetic", "s", {"t1c": volume}, levels, affine)
    coarse = coarser(fine, 2)
    assert coarse.levels.shape == coarse.images["t1c"].shape == (4, 5, 5)
    block = fine.images["t1c"][2:4, 4:6, 6:8]
    assert coarse.images["t1c"][1, 2, 3] == pytest.approx(block.mean(), abs=0.51)
    assert coarse.levels[1, 2, 3] == 3
    assert coarse.levels.sum() == 3, "half is not more than half"
    corners = nibabel.affines.apply_affine(affine, [[6, 4, 2], [7, 5, 3]])
    assert nibabel.affines.apply_affine(coarse.affine, [3, 2, 1]) == pytest.approx(corners.mean(axis=0))


def test_the_same_volumes_make_the_same_bytes(cohort, tmp_path):
    first = viewer_file(cohort, tmp_path / "a.json", "--simulated").read_bytes()
    assert first == viewer_file(cohort, tmp_path / "b.json", "--simulated").read_bytes()


def test_a_case_without_tumour_and_a_single_region_are_packed():
    empty = np.zeros((6, 6, 6), np.uint8)
    cases = [viewed_case("a", "synthetic", "s", {"t1c": empty.astype(float) - 1}, empty, np.eye(4))]
    assert pack(cases, 10**6)["cases"][0]["voxel"] == [3, 3, 3]


def test_niivue_is_the_file_that_its_readme_names():
    vendor = ROOT / "workflow_scripts/reporting/report/vendor"
    named = re.search(r"`([0-9a-f]{64})`", (vendor / "README.md").read_text()).group(1)
    assert sha256_file(vendor / "niivue.umd.js") == named
