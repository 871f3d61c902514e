"""A model folder holds a whole model, or is refused with a sentence."""

import json

import pytest
import torch
from contracts import CONTRACT

from workflow_scripts.base.errors import UserError
from workflow_scripts.training.model_files import contract_digest, load_model, load_weights, save_model


@pytest.fixture
def folder(tmp_path):
    save_model(tmp_path / "model", {"weight": torch.arange(6.0).reshape(2, 3).T, "bias": torch.zeros(2)}, CONTRACT)
    return tmp_path / "model"


def test_what_was_saved_comes_back(folder):
    weights, contract = load_model(folder)
    assert weights["weight"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert {key: contract[key] for key in CONTRACT} == CONTRACT
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]


def test_the_same_model_is_the_same_bytes(folder, tmp_path):
    save_model(tmp_path / "again", {"bias": torch.zeros(2), "weight": torch.arange(6.0).reshape(2, 3).T}, CONTRACT)
    for name in ("model.json", "model.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert contract_digest(folder) == contract_digest(tmp_path / "again")


def damage(folder, what: str) -> None:
    weights, contract = folder / "model.safetensors", folder / "model.json"
    if what == "no weights":
        weights.unlink()
    elif what == "no contract":
        contract.unlink()
    elif what == "cut weights":
        weights.write_bytes(weights.read_bytes()[:-4])
    elif what == "one bit":
        content = bytearray(weights.read_bytes())
        content[-3] ^= 1
        weights.write_bytes(content)
    elif what == "no json":
        contract.write_text("{")
    elif what == "another kind":
        contract.write_text(json.dumps(CONTRACT | {"kind": "poem"}))
    elif what == "a key is missing":
        contract.write_text(json.dumps({key: value for key, value in CONTRACT.items() if key != "grid"}))
    elif what == "a list":
        contract.write_text("[]")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no weights", "model.safetensors is missing"),
        ("no contract", "model.json is missing"),
        ("cut weights", "its digest differs"),
        ("one bit", "its digest differs"),
        ("no json", "no JSON"),
        ("another kind", "kind is 'poem'"),
        ("a key is missing", "lacks .*grid"),
        ("a list", "no model contract"),
    ],
)
def test_a_damaged_model_is_refused_with_the_file_and_the_reason(folder, what, message):
    damage(folder, what)
    with pytest.raises(UserError, match=message) as error:
        load_model(folder)
    assert str(folder) in str(error.value)


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no trained model"):
        load_model(tmp_path / "nowhere")


@pytest.mark.parametrize("contract", [{**CONTRACT, "kind": "generator"}, {"kind": "autoencoder"}])
def test_a_contract_that_lacks_what_its_kind_needs_is_not_written(tmp_path, contract):
    with pytest.raises(ValueError, match="lacks"):
        save_model(tmp_path, {"weight": torch.zeros(1)}, contract)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"weight": torch.zeros(2, 3)}, "bias is missing"),
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "more": torch.zeros(1)}, "more is unknown"),
        ({"weight": torch.zeros(3, 3), "bias": torch.zeros(2)}, r"shape \(3, 3\), not \(2, 3\)"),
    ],
)
def test_weights_of_another_network_are_refused(weights, message):
    with pytest.raises(UserError, match=message):
        load_weights(torch.nn.Linear(3, 2), weights, "model folder")
