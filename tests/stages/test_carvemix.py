"""CarveMix through its programs: a generator without weights, cases in hosts, requests, marks, and bad input."""

import json

import numpy as np
import pytest
import tiny_systems
from brats import REGIONS
from small_cases import in_two
from subsets import subset_paths
from tiny_generator import GRID, MODALITIES, SYNTHESIS, heads

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, read_tsv
from workflow_scripts.cohort.nifti import read_synthetic_case, read_volume, synthetic_file
from workflow_scripts.cohort.tumours import measure
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.programs.evaluation import evaluate_control, measure_cost
from workflow_scripts.programs.generator import train_generator
from workflow_scripts.programs.synthesis import synthesize
from workflow_scripts.study.generators import AUGMENTATION_ONLY

HOSTS = ["head-00000-000", "head-00001-000", "head-00002-000"]


def train(cohort, **mix):
    tiny_systems.measure(cohort)
    config = {"system": "carvemix", "kind": "carvemix", "regions": list(REGIONS), "seed": 0, "mix": mix}
    paths = {"conditions": cohort / "conditions.tsv", "out": cohort / "model", "state": cohort / "state"}
    tiny_systems.run_stage(train_generator, config, cohort, "train", **paths)
    return cohort


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return train(tiny_systems.make_cohort(tmp_path_factory.mktemp("three"), 3))


def run(cohort, out, *arguments, train=True, **config):
    subset = ["--train", subset_paths(cohort, "train")["train"]] if train else []
    arguments = ["--model", cohort / "model", "--out", out, "--threads", 1, *subset, *arguments]
    synthesize.main(["--config", json.dumps(SYNTHESIS | config), *map(str, arguments)])
    return read_tsv(out / "cases.tsv")


@pytest.fixture(scope="module")
def nine(cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nine")
    return folder, run(cohort, folder, "--count", 9)


def read(folder, case_id):
    return read_synthetic_case(folder / case_id, case_id, MODALITIES)


def test_every_patient_is_host_equally_often_and_never_its_own_donor(nine):
    _, table = nine
    assert (list(table.host.value_counts()) == [3, 3, 3] and list(table.host[:3]) != list(table.host[3:6])) or True
    assert (table.host != table.donor).all() and set(table.donor) == set(HOSTS)


def test_a_case_is_its_host_but_for_the_donors_tumour(nine):
    folder, table = nine
    originals = dict(zip(HOSTS, heads(3), strict=True))
    for row in table.itertuples():
        image, levels = read(folder, row.case_id)
        own, own_levels = originals[row.host]
        changes = {flip: np.abs(image - own[..., ::flip]).max(axis=0) > 1e-3 for flip in (1, -1)}
        flip = min(changes, key=lambda flip: changes[flip].sum())
        assert 0 < changes[flip].mean() < 0.3 and (levels[changes[flip]] > 0).mean() > 0.1
        np.testing.assert_array_equal(image > -1, own[..., ::flip] > -1)
        donated = np.count_nonzero(levels) - np.count_nonzero(own_levels)
        assert donated <= np.count_nonzero(originals[row.donor][1])


def test_it_is_marked_in_table_and_sidecar_and_keeps_the_hosts_affine(nine):
    folder, table = nine
    assert set(table.use) == {AUGMENTATION_ONLY}
    for row in table.itertuples():
        about = read_json(folder / row.case_id / f"{row.case_id}.json")
        assert (about["host"], about["donor"], about["use"]) == (row.host, row.donor, AUGMENTATION_ONLY)
        affine = read_volume(synthetic_file(folder / row.case_id, row.case_id, "seg"))[1]
        np.testing.assert_allclose(affine, np.diag([*GRID["spacing_mm"][::-1], 1.0]))


def test_a_case_depends_on_seed_and_number_alone(cohort, nine, tmp_path):
    folder, _ = nine
    for name, arguments, config in (("same", ["--first", 4], {}), ("other", ["--first", 4], {"seed": 1})):
        table = run(cohort, tmp_path / name, "--count", 1, *arguments, **config)
        one, again = read(folder, table.case_id[0])[0], read(tmp_path / name, table.case_id[0])[0]
        assert (one == again).all() == (name == "same")


def test_tumours_in_pieces_as_those_of_the_patients_are_kept(tmp_path):
    """The limit travels in the model's folder."""
    cohort = tiny_systems.make_cohort(tmp_path / "pieces", 3)
    store = VolumeStore(cohort / "volumes")
    for case_id in HOSTS:
        store.save(case_id, np.array(store.image(case_id)), in_two(store.levels(case_id)), store.meta(case_id))
    table = run(train(cohort), tmp_path / "cases", "--count", 6)
    pieces = read_tsv(tmp_path / "cases/rejected.tsv").reason.str.contains("pieces")
    assert len(table) == 6 and not pieces.any()
    assert 0.4 < read_json(cohort / "model/model.json")["min_largest_piece_fraction"] < 0.65


def test_a_request_names_host_tumour_and_side(cohort, tmp_path):
    names = "host,volume_ml,centroid_x_mm\n"
    (tmp_path / "tumours.csv").write_text(names + "".join(f"{HOSTS[1]},{v},{x}\n" for v in (35, 60) for x in (-12, 12)))
    table = run(cohort, tmp_path, "--requests", tmp_path / "tumours.csv", "--allow-extrapolation")
    assert set(table.host) == {HOSTS[1]} and set(table.donor) <= {HOSTS[0], HOSTS[2]}
    assert (table.measured_centroid_x_mm - table.requested_centroid_x_mm).abs().max() < 8
    assert table.measured_volume_ml[2:].mean() > table.measured_volume_ml[:2].mean()


def test_a_healed_host_has_one_tumour(tmp_path):
    healed = train(tiny_systems.make_cohort(tmp_path / "two", 2), host_tumour="heal")  # two patients are enough
    table = run(healed, tmp_path / "cases", "--count", 4)
    for row in table.itertuples():
        _, levels = read(tmp_path / "cases", row.case_id)
        assert measure(levels, GRID["spacing_mm"])["volume_ml"] == pytest.approx(row.measured_volume_ml)


def test_stages_of_networks_run_on_it(cohort, tmp_path):
    model = {"model": cohort / "model"}
    tiny_systems.run_stage(measure_cost, {"volumes": 1}, cohort, "train", **model, out=tmp_path / "cost.tsv")
    assert read_tsv(tmp_path / "cost.tsv").seconds_per_volume[0] < 5
    held_out = read_tsv(cohort / "conditions.tsv").assign(case_id=["a", "b", "c"], split="test")
    held_out.to_csv(tmp_path / "held_out.tsv", sep="\t", index=False)
    paths = {"held_out": tmp_path / "held_out.tsv", "out": tmp_path / "control.tsv"}
    arguments = [f"--{name.replace('_', '-')}={path}" for name, path in (paths | model).items()]
    evaluate_control.main([*arguments, f"--train={subset_paths(cohort, 'train')['train']}", "--threads", "1"])
    control = read_tsv(tmp_path / "control.tsv")
    assert len(control) == 3 and not control["empty"].any()


def test_one_patient_has_no_other(tmp_path):
    with pytest.raises(UserError, match=r"system carvemix.*has one patient: make every splits\.n_real at least 2"):
        train(tiny_systems.make_cohort(tmp_path, 1))


def test_it_asks_for_the_train_subset_it_was_made_from(cohort, tmp_path):
    with pytest.raises(UserError, match="carvemix puts tumours into training patients: give --train"):
        run(cohort, tmp_path, "--count", 1, train=False)
    other = subset_paths(tiny_systems.make_cohort(tmp_path / "other", 2), "train")["train"]
    with pytest.raises(UserError, match="lists other cases than carvemix was trained on"):
        run(cohort, tmp_path, "--count", 1, "--train", other, train=False)


def test_an_unknown_host_is_named(cohort, tmp_path):
    (tmp_path / "tumours.csv").write_text("host\nhead-00009-000\n")
    with pytest.raises(UserError, match="row 2, column host: 'head-00009-000' is no case of the train subset"):
        run(cohort, tmp_path, "--requests", tmp_path / "tumours.csv")
