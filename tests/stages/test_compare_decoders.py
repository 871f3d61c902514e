"""compare_decoders on a tiny generator: FID of both decoders beside its floor, with n, and the same whatever was made before."""

import json
import shutil

import numpy as np
import pytest
import tiny_systems
from brats import REGIONS
from subsets import subset_paths
from test_train_depth_decoder import CONFIG, TRAINING
from tiny_generator import SYNTHESIS

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, read_tsv, write_json, write_tsv
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.diffusion import synthesis
from workflow_scripts.diffusion.generator import Sample
from workflow_scripts.diffusion.network_generator import NetworkGenerator
from workflow_scripts.programs.autoencoder import train_depth_decoder
from workflow_scripts.programs.evaluation import compare_decoders, extract_image_features
from workflow_scripts.programs.generator import attach_depth_decoder

IMAGES = {"planes": ["axial", "coronal"], "min_foreground_fraction": 0.05}
SAMPLING = {key: value for key, value in SYNTHESIS.items() if key == "precision"}
TRAIN = 3


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three heads to train on, three held out; a generator with a depth decoder, and the real cases' features."""
    folder = tiny_systems.make_cohort(tmp_path_factory.mktemp("decoders"), count=5)
    ids = list(read_tsv(folder / "cases.tsv").case_id)
    write_json(folder / "splits.json", {"seed": 0, "train": {"3": ids[:3]}, "val": ids[3:4], "test": ids[4:]})
    tiny_systems.prepare(folder, "slice_vae", training={"steps": 150})
    space = {"autoencoder": folder / "slice_vae/autoencoder", "latents": folder / "slice_vae/latents"}
    cohort = subset_paths(folder, "train")
    config = CONFIG | {"training": TRAINING | {"steps": 20}}
    run(train_depth_decoder, config, **space, **cohort, out=folder / "depth_decoder", state=folder / "state")
    tiny_systems.train("slice_ldm", folder, folder, steps=100)
    run(attach_depth_decoder, {}, **{"depth-decoder": folder / "depth_decoder", "model": folder / "model"})
    extract(folder)
    return folder


def run(program, config, **options):
    arguments = {"config": json.dumps(config), "threads": 1, **options}
    program.main([text for name, value in arguments.items() for text in (f"--{name}", str(value))])


def extract(folder):
    paths = {name: folder / f"{name}.tsv" for name in ("out", "pairs")}
    places = {"features": folder / "features", **subset_paths(folder, "train", "val", "test")}
    run(extract_image_features, IMAGES, **paths, **places)


def compare(folder, out, volumes=4, **images):
    config = {"volumes": volumes, "images": IMAGES | images, **SAMPLING}
    places = {"features": folder / "features", **subset_paths(folder, "train", "val", "test")}
    tables = {"real": folder / "out.tsv", "out": out / "decoders.tsv", "fid": out / "fid.tsv"}
    run(compare_decoders, config, model=folder / "model", **places, **tables)
    return read_tsv(out / "decoders.tsv"), read_tsv(out / "fid.tsv")


def test_every_plane_has_both_decoders_their_difference_and_the_floor_with_n(study, tmp_path):
    gradients, fid = compare(study, tmp_path)
    assert set(gradients.groupby("decoder").case_id.nunique().items()) == {("slice", 4), ("depth", 4), ("real", 1)}
    assert set(fid.n_cases) == {3}, "as many synthetic cases as real ones"
    assert list(fid.plane.unique()) == IMAGES["planes"]
    for _, own in fid.groupby("plane"):
        found = own.set_index("decoder")
        assert list(found.index) == ["slice", "depth", "floor", "difference"]
        difference = found.value["depth"] - found.value["slice"]
        assert found.value["difference"] == pytest.approx(difference, rel=1e-6)
        assert (found.standard_error >= 0).all() and found.value["difference"] != 0
        assert found.n_samples.nunique() == 1, "as many slices of each"
        assert found.standard_error["difference"] < found.standard_error["slice"] + found.standard_error["depth"]
    assert set(fid.system) == {"slice_ldm"} and set(fid.feature_network) == {"EfficientNet-Lite0 (ImageNet)"}
    again = compare(study, tmp_path / "again")
    assert again[0].equals(gradients) and again[1].equals(fid)


def test_training_cases_as_they_are_have_the_distance_of_the_floor(study, tmp_path, monkeypatch):
    """A generator that gives back its training cases reaches the floor under either decoder."""
    store, ids = VolumeStore(study / "volumes"), read_json(study / "splits.json")["train"]["3"]
    copies = [np.asarray(store.image(case_id), dtype=np.float32) for case_id in ids]
    empty = np.zeros((len(REGIONS), *copies[0].shape[1:]), np.float32)
    decoded = iter([Sample.of(copy, empty, REGIONS) for copy in copies for _ in ("slice", "depth")])
    monkeypatch.setattr(NetworkGenerator, "decode", lambda *_: next(decoded))
    monkeypatch.setattr(synthesis, "foreground_of", lambda sample, background: (sample.image > -1).any(axis=0))
    _, fid = compare(study, tmp_path, volumes=3)
    for _, own in fid.groupby("plane"):
        found = own.set_index("decoder").value
        assert found["slice"] == pytest.approx(found["floor"], rel=0.02)
        assert found["difference"] == pytest.approx(0.0, abs=1e-6)


def test_a_volume_without_foreground_is_left_out_and_none_left_is_an_empty_table(study, tmp_path, monkeypatch):
    monkeypatch.setattr(
        synthesis, "foreground_of", lambda sample, background: np.zeros(sample.image.shape[1:], dtype=bool)
    )
    _, fid = compare(study, tmp_path, volumes=2)
    assert fid.empty and "standard_error" in fid.columns


def test_real_features_by_other_settings_are_refused(study, tmp_path):
    with pytest.raises(UserError, match="features differ in settings_digest"):
        compare(study, tmp_path, min_foreground_fraction=0.3)
    with pytest.raises(UserError, match=r"evaluation.decoders.volumes is 0"):
        compare(study, tmp_path, volumes=0)


def test_a_second_time_point_is_no_further_case(study, tmp_path):
    folder = tmp_path / "time_points"
    shutil.copytree(study, folder)
    for suffix in (".image.npy", ".levels.npy", ".json"):
        shutil.copyfile(*(folder / f"volumes/head-00003-{number}{suffix}" for number in ("000", "001")))
    table, splits = read_tsv(folder / "cases.tsv"), read_json(folder / "splits.json")
    table.loc[len(table)] = {"case_id": "head-00003-001"}
    write_tsv(folder / "cases.tsv", table)
    write_json(folder / "splits.json", splits | {"val": ["head-00003-000", "head-00003-001"]})
    extract(folder)
    first, again = (compare(place, tmp_path / place.name, volumes=3)[1] for place in (study, folder))
    assert first.equals(again)
