"""Model folders as they may arrive: cut, changed, of other types, with names that are paths: refused by the file, or whole."""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_generator
import torch
from memory import Peak
from tiny_generator import CONFIG, GRID, MODALITIES, SYNTHESIS, TRAINING

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_json, sha256_json, write_json
from workflow_scripts.diffusion.generator import Request
from workflow_scripts.diffusion.kinds import load_generator
from workflow_scripts.memorisation.reference import Reference, load_reference, save_reference
from workflow_scripts.memorisation.release import read_release, write_release
from workflow_scripts.study.settings.synthesis import SynthesisSettings
from workflow_scripts.training.model_files import OWN_DIGEST, load_model

FEW = {"diffusion": {**CONFIG["diffusion"], "training": {**TRAINING, "steps": 2}}}
SETTINGS = SynthesisSettings.read(SYNTHESIS | {"sampler": {"steps": 2}})
MUTANTS = int(os.environ.get("SLICEAUG_MUTANTS", "2000"))  # as of test_headers.py; a model takes longer than a header
CONTRACTS, BYTES = MUTANTS // 16, MUTANTS // 20
MOST_MIB = 256  # a network of a thousand weights and a volume of a few voxels
ODD = [0, 1, -1, 2, 10**9, 10**30, 1.5, float("nan"), float("inf"), True, None, "", "x", "../../P1", "/etc/passwd", "a/b", "a\0b", [], {},
       [0], [1, 2, 3], ["../x"], [[1]], {"a": 1}, "x" * 3000, [10**6] * 4, [1e300] * 3]  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A generator of two steps, with its release."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_generator.make_inputs(folder, steps=2)
    made = tiny_generator.train(folder, folder / "state", folder / "model", CONFIG | FEW)
    write_release(made, SYNTHESIS, None, None)
    return made


@pytest.fixture
def carried(model, tmp_path) -> Path:
    shutil.copytree(model, tmp_path / "carried")
    return tmp_path / "carried"


def draw(folder: Path):
    """A case of the model, if it is taken. Raises UserError if not."""
    read_release(folder)
    generator = load_generator(folder, SETTINGS, torch.device("cpu"))
    request = Request(generator.conditions.rows[0], torch.Generator().manual_seed(0))
    return generator, next(iter(generator.sample([request])))


def places(value: Any, way: tuple = ()) -> list[tuple]:
    """The way to every value of a JSON document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    return [way, *(found for key, one in inner for found in places(one, (*way, key)))]


def changed(rng: random.Random, contract: dict) -> dict:
    """The contract with a value, or two, replaced, left out or moved by a little."""
    contract = copy.deepcopy(contract)
    for _ in range(rng.choice([1, 1, 2])):
        *path, last = rng.choice([way for way in places(contract) if way])
        holder = contract
        for step in path:
            holder = holder[step]
        value, kind = holder[last], rng.random()
        if kind < 0.1 and isinstance(holder, dict):
            del holder[last]
        elif kind < 0.3 and isinstance(value, int | float):
            holder[last] = value * rng.choice([2, 0.5, -1, 1000]) + rng.choice([0, 1])
        else:
            holder[last] = copy.deepcopy(rng.choice(ODD))
    return contract


def test_a_contract_of_whatever_is_refused_by_its_file_or_draws_whole_cases(carried):
    """Digests are made anew, as somebody would who means it: types, ranges and shapes have to tell."""
    rng, file = random.Random(0), carried / "model.json"
    contract = read_json(file)
    del contract[OWN_DIGEST]
    draw(carried)  # what is loaded once is no part of the peak
    taken, slowest, peak = 0, 0.0, Peak()
    for number in range(CONTRACTS):
        now = changed(rng, contract)
        file.write_text(json.dumps(now | {OWN_DIGEST: sha256_json(now)} if rng.random() < 0.9 else now))
        began = time.process_time()
        try:
            generator, sample = draw(carried)
        except UserError as error:
            assert str(carried) in str(error) and len(str(error)) < 1500, str(error)
        else:
            taken += 1
            names = [*generator.contract["modalities"], *generator.contract["regions"], generator.contract["name"]]
            assert not any(set("/\\.\0") & set(name) for name in names)
            assert sample.image.shape == (len(MODALITIES), *GRID["size"]) and np.isfinite(sample.image).all()
        slowest = max(slowest, time.process_time() - began)
        assert slowest < 2 and peak.mib() < MOST_MIB, f"mutant {number}: {slowest:.1f} s, {peak.mib():.0f} MiB"
    print(f"\n{CONTRACTS} contracts: {taken} taken, {slowest:.2f} s at most, {peak.mib():.0f} MiB")
    assert 0 < taken < CONTRACTS // 2


def test_a_changed_digit_is_told(carried):
    file = carried / "model.json"
    file.write_text(file.read_text().replace("10.0", "11.0", 1))
    with pytest.raises(UserError, match=r"model\.json was changed since the model was trained"):
        load_model(carried)
    write_json(file, {key: value for key, value in read_json(file).items() if key != OWN_DIGEST})
    with pytest.raises(
        UserError, match=r"model\.json was changed since the model was trained \(it lacks contract_sha256\)"
    ):
        load_model(carried)


def test_images_that_are_no_numbers_are_no_cases(carried):
    """Of weights that a training left so."""
    generator = load_generator(carried, SETTINGS, torch.device("cpu"))
    generator.scale["mean"] = generator.scale["mean"] * torch.nan
    request = Request(generator.conditions.rows[0], torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match="makes images whose values are no numbers"):
        next(iter(generator.sample([request])))


def test_bytes_that_were_cut_or_changed_are_told(carried):
    rng = random.Random(1)
    whole = {name: (carried / name).read_bytes() for name in ("model.json", "model.safetensors", "release.json")}
    draw(carried)
    refused, slowest, peak = 0, 0.0, Peak()
    for number in range(BYTES):
        name = rng.choice(list(whole))
        raw = bytearray(whole[name])
        match rng.randrange(4):
            case 0:
                raw = raw[: rng.randrange(len(raw))]
            case 1:
                raw[rng.randrange(len(raw))] = rng.randrange(256)
            case 2:
                place = rng.randrange(len(raw))
                raw[place : place + 8] = rng.randbytes(8)
            case _:
                raw = bytearray(rng.choice([b"", b"[" * 100_000, b"1" * 10_000, b"null", b"\xff\xfe", b"PK\3\4"]))
        (carried / name).write_bytes(raw)
        began = time.process_time()
        try:
            draw(carried)
        except UserError as error:
            refused += 1
            assert str(carried / name) in str(error), str(error)
        else:
            assert bytes(raw) == whole[name] or json.loads(raw) == json.loads(whole[name])  # a blank more
        slowest = max(slowest, time.process_time() - began)
        assert slowest < 2 and peak.mib() < MOST_MIB, f"mutant {number}: {slowest:.1f} s, {peak.mib():.0f} MiB"
        (carried / name).write_bytes(whole[name])
    print(f"\n{BYTES} damaged files: {refused} refused, {slowest:.2f} s at most, {peak.mib():.0f} MiB")
    assert refused > BYTES * 0.8


class _Bomb:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["model.safetensors", "model.json", "release.json", "copies/reference.safetensors"])
def test_nothing_of_a_model_folder_is_unpickled(carried, tmp_path, name):
    bomb = tmp_path / "exploded"
    release = read_json(carried / "release.json")
    (carried / "copies").mkdir(exist_ok=True)
    for form in (pickle.dumps(_Bomb(bomb)), None):
        if form is None:
            torch.save({"weights": _Bomb(bomb)}, carried / name)
        else:
            (carried / name).write_bytes(form)
        if name == "model.safetensors":  # its digest is right: the reader alone has to tell
            contract = read_json(carried / "model.json")
            contract.pop(OWN_DIGEST, None)
            from workflow_scripts.base.files import sha256_file

            (carried / "model.json").write_text(json.dumps(contract | {"weights_sha256": sha256_file(carried / name)}))
        if name.startswith("copies"):
            release.pop("release_sha256", None)
            damaged = release | {
                "copies": {"reference.safetensors": "0" * 64, "reference.json": "0" * 64},
                "false_positive_rate": 0.1,
            }
            damaged["release_sha256"] = sha256_json(damaged)
            (carried / "release.json").write_text(json.dumps(damaged))
        with pytest.raises(UserError, match="carried"):
            draw(carried)
        assert not bomb.exists()


def test_a_training_set_to_compare_with_is_refused_by_its_file_or_compares(tmp_path):
    """reference.json, which copies are refused by, with whatever in it."""
    rng, arrays = random.Random(2), np.random.default_rng(0)
    ids = ["a", "b", "c"]
    described = {
        "compared": "cases",
        "modalities": MODALITIES,
        **GRID,
        "blocks": [2, 2, 2],
        "sigma": [1.0, 1.0, 1.0],
        "max_shift_mm": 8.0,
    }
    rows = [{"nearest_train_id": "b", "similarity": 0.5, "margin": 0.1} for _ in ids]
    images, masks = (arrays.random((3, channels, 6, 8, 8), dtype=np.float32) for channels in (len(MODALITIES), 1))
    save_reference(tmp_path, Reference(ids, ids, images, masks, described | {"real": rows}))
    whole = read_json(tmp_path / "reference.json")
    taken, peak = 0, Peak()
    for number in range(CONTRACTS):
        (tmp_path / "reference.json").write_text(json.dumps(changed(rng, whole)))
        try:
            reference = load_reference(tmp_path)
        except UserError as error:
            assert str(tmp_path) in str(error), str(error)
            continue
        taken += 1
        assert np.isfinite(reference.own_limits(0.1).margin.value)
        assert reference.poses and reference.coarse_spacing_mm
        assert peak.mib() < MOST_MIB, f"mutant {number}: {peak.mib():.0f} MiB"
    print(f"\n{CONTRACTS} training sets: {taken} taken, {peak.mib():.0f} MiB")
    assert 0 < taken < CONTRACTS // 2
