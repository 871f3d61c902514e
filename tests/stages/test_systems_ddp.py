"""Two processes that share a batch train each kind of network as one process that has all of it."""

import csv

import pytest
import tiny_systems
import torch
from safetensors.torch import load_file

TOLERANCE = 2e-3  # relative, over at most 12 steps: gradients are summed in another order (fp32)


def rows(folder) -> list[dict[str, float]]:
    with (folder / "loss.csv").open() as stream:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]


def compare(one, other):
    first, second = rows(one), rows(other)
    assert len(first) == len(second) > 1
    for a, b in zip(first, second, strict=True):
        for key in (key for key in a if key.endswith("loss")):
            assert b[key] == pytest.approx(a[key], rel=TOLERANCE), key
    weights = load_file(one / "model.safetensors")
    for name, value in load_file(other / "model.safetensors").items():
        torch.testing.assert_close(value, weights[name], rtol=0.05, atol=5e-3)


@pytest.mark.slow  # of one player tests/stages/test_training_ddp.py shows it, of a program the generator below
@pytest.mark.parametrize("kind", ["slice_vae", "vae_3d"])
def test_autoencoders(tmp_path, kind):
    for devices in (1, 2):
        folder = tiny_systems.make_cohort(tmp_path / str(devices))
        tiny_systems.prepare(folder, kind, training={"steps": 12, "log_every_steps": 4, "devices": devices})
    compare(tmp_path / "1" / kind / "autoencoder", tmp_path / "2" / kind / "autoencoder")


# of two players tests/stages/test_training_ddp.py shows it
@pytest.mark.parametrize("system", ["ddpm_3d", pytest.param("lsgan_3d", marks=pytest.mark.slow)])
def test_generators(tmp_path, system):
    cohort = tiny_systems.make_cohort(tmp_path / "heads")
    tiny_systems.measure(cohort)
    models = [
        tiny_systems.train(system, cohort, tmp_path / str(devices), steps=6, log_every_steps=2, devices=devices)
        for devices in (1, 2)
    ]
    compare(*models)
