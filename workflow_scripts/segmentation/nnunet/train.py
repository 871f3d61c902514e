"""nnU-Net as a segmenter: the training of an arm."""

from importlib.metadata import version

from ...base.cli import log
from ...training.devices import describe
from ..segmenter import Trained, Training
from .fit import Fit
from .library import POOL_SUFFIXES, NnunetPlan, nnunet_home, quiet
from .trainer import build_trainer

__all__ = ["POOL_SUFFIXES", "train"]


def train(training: Training) -> Trained:
    """Train nnU-Net on an arm; see `segmentation.segmenter`."""
    plan, settings, cases = NnunetPlan.of(training.plan), training.settings, training.cases
    with nnunet_home(), quiet():
        lists = cases.train_ids, list(cases.val_ids)
        trainer = build_trainer(plan, training.view, *lists, settings, cases.arm.seed, training.device)
        draws = training.draws(trainer.num_epochs * trainer.num_iterations_per_epoch)
        fit = Fit(trainer, settings, cases.arm.seed, training.state.folder, cases.arm.title, draws)
        log.info("%s: %d cases, on %s", fit.title, len(cases.train_ids), describe(trainer.device, fit.precision))
        fit.run()
    chosen, mirror_axes = plan.configuration, trainer.inference_allowed_mirroring_axes
    description = {
        "plan": {
            **{key: chosen[key] for key in ("patch_size", "batch_size", "spacing", "batch_dice")},
            "features_per_stage": chosen["architecture"]["arch_kwargs"]["features_per_stage"],
        },
        "training": {
            "epochs": trainer.num_epochs,
            "iterations_per_epoch": trainer.num_iterations_per_epoch,
            "initial_learning_rate": trainer.initial_lr,
            "augmentation": settings.augmentation,
            "precision": fit.precision,
            "parameters": sum(weights.numel() for weights in trainer.network.parameters()),
        },
        "prediction": {
            "mirroring": settings.mirroring,
            "mirror_axes": None if mirror_axes is None else list(mirror_axes),
            "precision": settings.precision,
        },
        "nnunetv2": version("nnunetv2"),
    }
    patches = trainer.num_epochs * trainer.num_iterations_per_epoch * trainer.batch_size
    return Trained(fit.weights(), fit.history, patches, description)
