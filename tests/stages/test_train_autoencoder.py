"""The autoencoder's programs on a tiny cohort: they learn, measure, resume, and read nothing that they must not."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from brats import CONDITIONS
from safetensors.torch import load_file
from subsets import subset_paths
from tiny_autoencoder import CONFIG, arguments, curve, run

from workflow_scripts.base.errors import BadCase, UserError
from workflow_scripts.base.files import read_json, read_tsv, write_json
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.programs.autoencoder import extract_latents, measure_reconstruction, train_autoencoder
from workflow_scripts.programs.generator import measure_tumours
from workflow_scripts.training.case_volumes import CaseVolumes
from workflow_scripts.training.slice_data import SliceData

TRAIN, VAL, TEST = (0, 1, 2), (3,), (4, 5)
CASE = "BraTS-GLI-{:05d}-000".format


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, preprocessed_cohort):
    folder = preprocessed_cohort(tmp_path_factory.mktemp("cohort"), cases=6)
    names = {"train": {"3": list(map(CASE, TRAIN))}, "val": list(map(CASE, VAL)), "test": list(map(CASE, TEST))}
    write_json(folder / "splits.json", {"seed": 0, **names})
    return folder


def encode(cohort, autoencoder, out, config="{}"):
    options = {
        "config": config,
        "autoencoder": autoencoder,
        **subset_paths(cohort, "train"),
        "threads": 1,
        "out": out,
    }
    extract_latents.main([text for name, value in options.items() for text in (f"--{name}", str(value))])
    return out


def measure(cohort, autoencoder, out):
    """reconstruction.tsv of the autoencoder, with its picture beside it."""
    out.mkdir(parents=True, exist_ok=True)
    options = {"autoencoder": autoencoder, **subset_paths(cohort, "train", "val"), "threads": 1}
    options |= {"out": out / "reconstruction.tsv", "picture": out / "reconstruction.png"}
    measure_reconstruction.main([text for name, value in options.items() for text in (f"--{name}", str(value))])
    return read_tsv(out / "reconstruction.tsv")


@pytest.fixture(scope="module")
def trained(cohort, tmp_path_factory):
    return run(cohort, tmp_path_factory.mktemp("trained"))


def test_the_model_is_written_by_who_holds_the_state(cohort, tmp_path, holders_at_save):
    holders = holders_at_save(tmp_path / "state")
    run(cohort, tmp_path, training={"steps": 2})
    assert [json.loads(holder)["process"] for holder in holders] == [os.getpid()]


def test_the_loss_falls_in_every_term(trained):
    losses = curve(trained)
    for term in ("loss", "l1", "ssim", "dice", "bce"):
        first, *_, last = losses[f"autoencoder_{term}"]
        assert last < 0.75 * first, term


def test_it_overfits_a_few_slices(cohort, tmp_path):
    """One patient, many steps: if the network, the loss and the loop fit together, little error is left."""
    splits = read_json(cohort / "splits.json")
    folder = tmp_path / "one"
    folder.mkdir()
    shutil.copy(cohort / "cases.tsv", folder)
    write_json(folder / "splits.json", splits | {"train": {"1": [CASE(0)]}})
    training = {"steps": 250, "learning_rate": 5e-3, "log_every_steps": 50}
    losses = curve(run(folder, tmp_path, training=training, volumes=cohort / "volumes"))
    assert losses["autoencoder_l1"][-1] < 0.3 * losses["autoencoder_l1"][0]
    assert losses["autoencoder_dice"][-1] < 0.1 and losses["autoencoder_ssim"][-1] < 0.2


def test_the_contract_says_what_the_model_is_and_names_the_train_cases_alone(trained, cohort):
    contract = read_json(trained / "model.json")
    assert contract["training_case_ids"] == list(map(CASE, TRAIN))
    assert contract["modalities"] == ["t1n", "t1c", "t2w", "t2f"]
    assert contract["regions"] == ["whole_tumor", "tumor_core", "enhancing_tumor"]
    assert contract["masks"] == ["foreground", *contract["regions"]]
    assert contract["grid"] == {"size": [16, 32, 32], "spacing_mm": [8.0, 6.0, 6.0]}
    assert contract["latent_shape"] == [4, 16, 16, 16]
    assert contract["spec"] == {key: CONFIG[key] for key in train_autoencoder.SPEC}


def test_reconstruction_is_measured_on_the_validation_cases_in_three_planes(trained, cohort, tmp_path):
    table = measure(cohort, trained, tmp_path)
    assert set(table["case_id"]) == set(map(CASE, VAL))
    assert len(table) == 3 * 4 * 2 + 4 * 4 + 4 * 4 + 4 + 1
    values = table.set_index(["plane", "channel", "metric"])["value"]
    assert (values.xs("ssim", level="metric") > 0.3).all() and (values.xs("ssim", level="metric") < 1).all()
    assert values.xs("psnr_db", level="metric").between(10, 60).all()
    assert values["volume", "whole_tumor", "dice"] > 0.3 and values["volume", "foreground", "dice"] > 0.8
    assert 0.8 < values["volume", "foreground", "volume_ratio"] < 1.25
    assert values.xs("through_plane_error", level="metric").between(0.01, 0.5).all()
    assert values.xs("through_plane_ratio", level="metric").between(0.2, 1.5).all()
    assert (tmp_path / "reconstruction.png").read_bytes().startswith(b"\x89PNG")


def test_volumes_of_other_cases_cannot_change_the_model(trained, cohort, tmp_path):
    volumes = tmp_path / "volumes"
    shutil.copytree(cohort / "volumes", volumes)
    store = VolumeStore(volumes)
    for index in VAL + TEST:
        image, levels = np.array(store.image(CASE(index))), np.array(store.levels(CASE(index)))
        store.save(CASE(index), -image, np.roll(levels, 3), store.meta(CASE(index)))
    for index in TEST:  # not even there
        store.remove(CASE(index))
    other = run(cohort, tmp_path, volumes=volumes)
    for name in ("model.safetensors", "model.json", "loss.csv"):
        assert (other / name).read_bytes() == (trained / name).read_bytes()


def test_a_finished_training_is_not_repeated_for_a_lost_output(cohort, tmp_path, caplog):
    first = run(cohort, tmp_path, training={"steps": 3})
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    shutil.rmtree(first)
    caplog.set_level("INFO", logger="sliceaug")
    caplog.clear()
    run(cohort, tmp_path, training={"steps": 3})
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before
    assert "of 3 steps" not in caplog.text


def test_one_mask_and_the_losses_of_the_paper(cohort, tmp_path):
    loss = {"l1": 1.0, "ssim": 1.0, "kl": 1e-6, "perceptual": 1.0, "dice": 0.0, "bce": 0.0}
    changes = {"regions": ["whole_tumor"], "loss": loss, "foreground_channel": False}
    folder = run(cohort, tmp_path, changes, {"steps": 30, "log_every_steps": 3})
    losses = curve(folder)
    assert losses["autoencoder_perceptual"][-1] < losses["autoencoder_perceptual"][0]
    assert not {"autoencoder_dice", "autoencoder_bce"} & set(losses)
    dice = measure(cohort, folder, tmp_path).query("metric == 'dice'")
    assert list(dice["channel"]) == ["foreground", "whole_tumor"]


def test_latents_are_the_posterior_means_of_the_train_subset(trained, cohort, tmp_path):
    folder = encode(cohort, trained, tmp_path / "latents")
    latents, scale = load_file(folder / "latents.safetensors"), read_json(folder / "latents.json")
    assert sorted(latents) == list(map(CASE, TRAIN)) == scale["case_ids"]
    stacked = np.stack([latents[case_id].numpy() for case_id in sorted(latents)]).astype(float)
    assert stacked.shape == (3, 4, 16, 16, 16)
    np.testing.assert_allclose(scale["mean"], stacked.mean(axis=(0, 2, 3, 4)), rtol=1e-6)
    np.testing.assert_allclose(scale["std"], stacked.std(axis=(0, 2, 3, 4)), rtol=1e-6)
    again = encode(cohort, trained, tmp_path / "again", '{"slices_per_batch": 5}')
    for case_id, value in load_file(again / "latents.safetensors").items():
        torch.testing.assert_close(value, latents[case_id], rtol=1e-4, atol=1e-4)


def features_of(cohort, out, regions='["whole_tumor", "tumor_core", "enhancing_tumor"]', volumes=None):
    options = {"config": f'{{"regions": {regions}}}', "out": out, **subset_paths(cohort, "train", volumes=volumes)}
    measure_tumours.main([text for name, value in options.items() for text in (f"--{name}", str(value))])
    return read_tsv(out)


def test_tumours_are_measured_of_the_train_subset_alone(cohort, tmp_path):
    features = features_of(cohort, tmp_path / "conditions.tsv")
    assert list(features.columns) == ["case_id", *CONDITIONS, "foreground_volume_ml", "largest_piece_fraction"]
    assert list(features["case_id"]) == list(map(CASE, TRAIN))
    whole = features_of(cohort, tmp_path / "whole.tsv", regions='["whole_tumor"]')
    assert not {"tumor_core_fraction", "enhancing_tumor_fraction"} & set(whole.columns)
    volumes = tmp_path / "volumes"
    shutil.copytree(cohort / "volumes", volumes)
    for number in (*VAL, *TEST):
        VolumeStore(volumes).remove(CASE(number))
    assert features_of(cohort, tmp_path / "alone.tsv", volumes=volumes).equals(features)


def test_a_case_without_tumour_is_named(cohort, tmp_path):
    volumes = tmp_path / "volumes"
    shutil.copytree(cohort / "volumes", volumes)
    store = VolumeStore(volumes)
    store.save(CASE(1), store.image(CASE(1)), store.levels(CASE(1)) * 0, store.meta(CASE(1)))
    with pytest.raises(BadCase, match="tumour mask is empty") as error:
        features_of(cohort, tmp_path / "conditions.tsv", volumes=volumes)
    assert error.value.case_id == CASE(1)


@pytest.mark.parametrize(
    ("changes", "training", "message"),
    [
        ({"kinds": "slice_vae"}, {}, "unknown key 'kinds' under 'autoencoder'. Did you mean 'kind'"),
        ({"loss": {"dices": 1.0}}, {}, "unknown key 'dices' under 'autoencoder.loss'"),
        ({"loss": {"l1": 0, "ssim": 0}}, {}, "nothing would teach intensities"),
        ({"loss": {"l1": -1}}, {}, "loss.l1 is -1"),
        ({"loss": {"l1": 1, "perceptual": 1, "perceptual_weights": "gone.pth"}}, {}, "no weights file gone.pth"),
        ({"modalities": ["t2f"]}, {}, "the volumes hold"),
        ({"strides": [1, 5]}, {}, r"does not divide by 5.*size: \[16, 35, 35\]"),
        ({"empty_slices_kept": 2}, {}, "a number from 0 to 1"),
        ({}, {"step": 3}, "unknown key 'step' under 'autoencoder.training'"),
    ],
)
def test_wrong_settings_are_refused_before_any_training(cohort, tmp_path, changes, training, message):
    with pytest.raises(UserError, match=message):
        run(cohort, tmp_path, changes, training)
    assert not (tmp_path / "autoencoder").exists()


def test_other_subsets_missing_volumes_and_mixed_grids_are_named(cohort, trained, tmp_path):
    with pytest.raises(UserError, match="is the val subset, not train"):
        train_autoencoder.main([*arguments(cohort, tmp_path), *("--train", str(subset_paths(cohort, "val")["val"]))])
    volumes = tmp_path / "volumes"
    shutil.copytree(cohort / "volumes", volumes)
    (volumes / f"{CASE(2)}.image.npy").unlink()
    with pytest.raises(UserError, match=f"missing volume of case {CASE(2)}"):
        run(cohort, tmp_path, volumes=volumes)
    shutil.copy(cohort / f"volumes/{CASE(2)}.image.npy", volumes)
    store = VolumeStore(volumes)
    meta = store.meta(CASE(1))
    store.save(CASE(1), store.image(CASE(1))[:, :12], store.levels(CASE(1))[:12], meta | {"size": [12, 32, 32]})
    with pytest.raises(BadCase, match="are not those of the other cases") as error:
        run(cohort, tmp_path, volumes=volumes)
    assert error.value.case_id == CASE(1)


def test_latents_of_another_subset_or_of_no_autoencoder_are_refused(trained, cohort, tmp_path):
    folder = tmp_path / "cohort"
    folder.mkdir()
    shutil.copy(cohort / "cases.tsv", folder)
    shutil.copytree(cohort / "volumes", folder / "volumes")
    splits = read_json(cohort / "splits.json")
    write_json(folder / "splits.json", splits | {"train": {"3": list(map(CASE, (0, 1, 5)))}, "test": [CASE(4)]})
    with pytest.raises(UserError, match="was not trained on the train subset of 3 patients"):
        encode(folder, trained, tmp_path / "latents")
    with pytest.raises(UserError, match="holds no trained model"):
        encode(cohort, tmp_path, tmp_path / "latents")
    with pytest.raises(UserError, match="slices_per_batch is 0"):
        encode(cohort, trained, tmp_path / "latents", '{"slices_per_batch": 0}')
    assert not (tmp_path / "latents").exists()


def test_batches_are_a_function_of_seed_and_step_and_every_slice_has_its_turn(cohort):
    def data(seed=0, kept=0.0, ram=True, **others):
        copies = 1 if ram else 2**40  # so many copies fit into no memory: stays memory-mapped
        volumes = CaseVolumes(VolumeStore(cohort / "volumes"), list(map(CASE, TRAIN)), ["whole_tumor"], copies)
        return SliceData(volumes, torch.arange(16), seed, kept, **others)

    one, other = data(), data(ram=False)
    for step in (7, 0, 1000):
        batch, again = one.draw(step, 5), other.draw(step, 5)
        x = batch["x"]
        assert torch.equal(x, again["x"]) and torch.equal(batch["position"], again["position"])
        assert x.shape == (5, 5, 32, 32) and set(x[:, 4].unique().tolist()) <= {-1.0, 1.0}
    assert not torch.equal(data(seed=1).draw(0, 5)["x"], one.draw(0, 5)["x"])
    assert (one.draw(0, len(one))["x"][:, :4] > -1).flatten(1).any(dim=1).all()  # no slice without brain
    in_one_round = sorted(tuple(x.flatten().tolist()) for x in one.draw(0, len(one))["x"])
    assert len(set(in_one_round)) == len(one)
    assert in_one_round == sorted(tuple(x.flatten().tolist()) for x in one.draw(1, len(one))["x"])
    total = len(data(kept=1.0))
    assert total == 3 * 16 and len(one) < len(data(kept=0.5)) < total
    drawn = [data(tumour_slices=0.5).draw(step, 8)["x"] for step in range(20)]
    held = torch.stack([(x[:, 4:] > 0).flatten(1).any(dim=1) for x in drawn])  # (20, 8)
    assert held[:, 4:].all() and not held[:, :4].all()  # half of each batch from slices with tumour, the rest from all


def test_some_masks_lose_their_inner_regions_and_their_images_keep_all(cohort):
    volumes = CaseVolumes(
        VolumeStore(cohort / "volumes"),
        list(map(CASE, TRAIN)),
        ["foreground", "whole_tumor", "tumor_core", "enhancing_tumor"],
    )
    whole, cut = (SliceData(volumes, torch.arange(16), 0, 0.0, None, 1.0, share).draw(0, 64)["x"] for share in (0, 0.5))
    assert torch.equal(cut[:, :6], whole[:, :6])  # images, foreground and whole tumour
    lost = (cut < whole).flatten(2).any(dim=2)
    assert not (cut > whole).any() and lost[:, 6].any() and lost[:, 7].sum() > lost[:, 6].sum()
    assert (cut[:, 7] > 0)[lost[:, 7]].sum() == 0  # a region is lost as a whole
