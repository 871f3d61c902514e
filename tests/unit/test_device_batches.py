"""nnU-Net's batches as a GPU makes them, held against nnU-Net's own."""

from __future__ import annotations

import pytest
import torch
from tiny_segmentation import Study

from workflow_scripts.segmentation.draws import Draws
from workflow_scripts.segmentation.nnunet.batches import NumberedBatches
from workflow_scripts.segmentation.nnunet.device_batches import Augmentation, DeviceBatches, DrawnBatches
from workflow_scripts.segmentation.nnunet.library import NnunetPlan, nnunet_home, quiet
from workflow_scripts.segmentation.nnunet.trainer import build_trainer
from workflow_scripts.segmentation.segmenter import load_plan
from workflow_scripts.study.settings.segmentation import Segmentation

CPU = torch.device("cpu")
MIX = Draws(("a1",), ("a2", "a3"), 5, real_share=0.5)


@pytest.fixture(scope="module")
def loaders(tmp_path_factory):
    study = Study(tmp_path_factory.mktemp("batches"))
    study.make_plan(features_per_stage=[4, 8, 8])
    study.pool_real()
    plan = NnunetPlan.of(load_plan(study.plan))

    def make(augmentation: bool, role: str):
        """A trainer's loader, new: the transforms hold what they have drawn."""
        trainer = build_trainer(plan, study.pool, ["a1", "a2", "a3"], ["b1"], settings[augmentation], 0, CPU)
        return trainer.loaders()[role == "val"], trainer.label_manager.all_labels

    settings = {on: Segmentation(augmentation=on) for on in (True, False)}
    with nnunet_home(), quiet():
        yield make


@pytest.mark.parametrize(
    ("augmentation", "role", "count", "draws"),
    [(True, "train", 40, None), (True, "val", 3, None), (False, "train", 3, None), (True, "train", 3, MIX)],
)
def test_a_batch_made_from_draws_is_nnunets_own(loaders, augmentation, role, count, draws):
    own = NumberedBatches(loaders(augmentation, role)[0], 5, role, draws)
    loader, labels = loaders(augmentation, role)
    drawn, augment = DrawnBatches(loader, 5, role, draws), Augmentation(loader, labels, CPU)
    applied = set()
    for number in range(count):
        expected, samples = own[number], drawn[number]
        batch = augment(samples)
        torch.testing.assert_close(batch["data"], expected["data"], atol=2e-3, rtol=1e-3)
        assert len(batch["target"]) == len(expected["target"]) == 2
        for made, wanted in zip(batch["target"], expected["target"], strict=True):
            assert made.dtype == wanted.dtype
            assert (made != wanted).float().mean() < 2e-4
        applied |= {(place, *params) for sample in samples for place, params in sample["draws"]}
    if count == 40:
        assert sum("grid" in names for names in applied) == 1  # turned or scaled patches were among them
        assert len(applied) >= 14  # and every transform at least once, with and without a grid


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_on_a_gpu_are_those_of_the_processor(loaders):
    own = NumberedBatches(loaders(True, "train")[0], 5, "train")
    loader, labels = loaders(True, "train")
    device = torch.device("cuda")
    with DeviceBatches(loader, 5, "train", labels, device).stream(0, 12, workers=2) as batches:
        for number, batch in enumerate(batches):
            expected = own[number]
            torch.testing.assert_close(batch["data"].cpu(), expected["data"], atol=2e-3, rtol=1e-3)
            for made, wanted in zip(batch["target"], expected["target"], strict=True):
                assert (made.cpu() != wanted).float().mean() < 2e-4
    assert number == 11
