"""On real patients: a training case in disguise is caught, by what the training patients alone say, and others are not."""

import pytest
from planted import DISGUISES, audit, calibrate, plant, volumes_of
from small_cases import prepare

from workflow_scripts.base.files import read_tsv, write_json
from workflow_scripts.cohort.volumes import VolumeStore

COARSE = {"spacing_mm": [3.0, 3.0, 3.0], "size": [48, 64, 64]}


@pytest.fixture(scope="module")
def audited(real_cases, tmp_path_factory):
    """Six patients to train, two held out; disguised copies of a training case, then four more patients."""
    folder = prepare(real_cases, tmp_path_factory.mktemp("real"), COARSE)
    ids = list(read_tsv(folder / "cases.tsv").case_id)
    assert len(ids) == 12
    write_json(folder / "splits.json", {"seed": 0, "train": {"6": ids[:6]}, "val": ids[6:7], "test": ids[7:8]})
    calibrate(folder, 6)
    source, meta = ids[4], VolumeStore(folder / "volumes").meta(ids[4])
    copies = [disguise(*volumes_of(folder, source)) for disguise in DISGUISES.values()]
    others = [volumes_of(folder, case_id) for case_id in ids[8:]]
    table, _ = audit(folder, 6, plant(folder, "synthetic", copies + others, meta))
    synthetic = table[table.group == "synthetic"]
    return synthetic.iloc[: len(copies)], source, synthetic.iloc[len(copies) :]


def test_every_disguised_copy_is_caught(audited):
    copies, source, _ = audited
    assert copies.gate_refuses.all() and copies.is_copy.all()
    assert len(copies) == len(DISGUISES) and set(copies.nearest_train_id) == {source}


def test_no_other_patient_is_a_copy(audited):
    copies, _, others = audited
    assert len(others) == 4
    assert not others.gate_refuses.any()
    assert others.similarity.max() < copies.similarity.min()
