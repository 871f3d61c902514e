"""nnU-Net's trainer, told its cases, its length and its seed; losses, optimizer, schedule, augmentation stay nnU-Net's."""

import copy
from pathlib import Path

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ...base.cli import log
from ...study.settings.segmentation import Segmentation
from .batches import seed_everything
from .library import CONFIGURATION, NnunetPlan
from .pool import PooledCases

MIN_STAGES_FOR_DEEP_SUPERVISION = 3


class ArmTrainer(nnUNetTrainer):
    """nnU-Net's trainer over given lists of ids."""

    # The base class records the arguments of __init__ by name, so a subclass cannot add any: they are set afterwards.
    train_case_ids: list[str]
    val_case_ids: list[str]

    def do_split(self) -> tuple[list[str], list[str]]:
        """The arm's ids. (nnU-Net's own falls back to a random split where one is missing.)"""
        return list(self.train_case_ids), list(self.val_case_ids)

    def get_tr_and_val_datasets(self) -> tuple[PooledCases, PooledCases]:
        """Training and validation cases of the pool."""
        labels = self.label_manager
        classes = labels.foreground_regions if labels.has_regions else labels.foreground_labels
        keys = [tuple(one) if isinstance(one, list | tuple) else int(one) for one in classes]
        train, val = self.do_split()
        folder = self.preprocessed_dataset_folder
        return PooledCases(folder, train, keys), PooledCases(folder, val, keys)

    def print_to_log_file(self, *args, also_print_to_console: bool = True, add_timestamp: bool = True) -> None:
        """To the program's log; nnU-Net would open a file named by the time."""
        log.debug("nnU-Net: %s", " ".join(str(arg) for arg in args).strip())

    @staticmethod
    def get_training_transforms(*args, **kwargs) -> BasicTransform:
        """nnU-Net's own augmentation, with a fixed method of blurring.

        nnU-Net times two ways to blur and keeps the faster, so that its batches depend on how busy the machine is.
        """
        transforms = nnUNetTrainer.get_training_transforms(*args, **kwargs)
        for transform in transforms.transforms:
            inner = getattr(transform, "transform", transform)
            if hasattr(inner, "benchmark"):
                inner.benchmark = False
        return transforms

    def configure_optimizers(self) -> tuple:
        """nnU-Net's own; on a GPU as one kernel, which leaves a step out by itself where the loss scaling overflowed:
        otherwise each step would wait for the GPU to know."""
        optimizer, scheduler = super().configure_optimizers()
        if self.device.type != "cuda":
            return optimizer, scheduler
        kept = {key: optimizer.defaults[key] for key in ("lr", "momentum", "dampening", "weight_decay", "nesterov")}
        optimizer = torch.optim.SGD(self.network.parameters(), **kept, fused=True)
        return optimizer, type(scheduler)(optimizer, self.initial_lr, self.num_epochs)

    def loaders(self) -> tuple[nnUNetDataLoader, nnUNetDataLoader]:
        """nnU-Net's loaders of training and validation batches, without the processes that it puts around them."""
        train, val = self.get_dataloaders()  # single-threaded wrappers, as nnUNet_n_proc_DA is 0
        return train.data_loader, val.data_loader


class PlainArmTrainer(ArmTrainer):
    """Without augmentation, as nnU-Net's nnUNetTrainerNoDA: patches as they are, no mirroring at prediction either."""

    @staticmethod
    def get_training_transforms(
        patch_size,
        rotation_for_DA,
        deep_supervision_scales,
        mirror_axes,
        do_dummy_2d_data_aug,
        use_mask_for_norm=None,
        is_cascaded=False,
        foreground_labels=None,
        regions=None,
        ignore_label=None,
    ) -> BasicTransform:
        """The transforms of validation."""
        return nnUNetTrainer.get_validation_transforms(
            deep_supervision_scales, is_cascaded, foreground_labels, regions, ignore_label
        )

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple:
        """No rotation, hence no margin to cut patches from, and no mirroring."""
        rotation, dummy_2d, _, _ = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        self.inference_allowed_mirroring_axes = None
        return rotation, dummy_2d, self.configuration_manager.patch_size, None


def build_trainer(
    plan: NnunetPlan,
    view: Path,
    train_ids: list[str],
    val_ids: list[str],
    settings: Segmentation,
    seed: int,
    device: torch.device,
) -> ArmTrainer:
    """A trainer whose network is initialised from `seed`. Call it within `nnunet_home`.

    view : folder with the preprocessed files of the arm's cases alone
    """
    kind = ArmTrainer if settings.augmentation else PlainArmTrainer
    plans = {**copy.deepcopy(plan.plans), "continue_training": False}  # nnU-Net pops it without a default
    trainer = kind(plans, CONFIGURATION, 0, copy.deepcopy(plan.dataset), device)
    trainer.preprocessed_dataset_folder = str(view)
    trainer.train_case_ids, trainer.val_case_ids = list(train_ids), list(val_ids)
    trainer.num_epochs = settings.epochs or trainer.num_epochs
    trainer.num_iterations_per_epoch = settings.iterations_per_epoch or trainer.num_iterations_per_epoch
    if settings.val_iterations_per_epoch is not None:
        trainer.num_val_iterations_per_epoch = settings.val_iterations_per_epoch
    trainer.initial_lr = settings.initial_learning_rate or trainer.initial_lr
    # nnU-Net gives the coarsest output weight 0; of two stages' single output nothing would be left.
    stages = plan.configuration["architecture"]["arch_kwargs"]["n_stages"]
    trainer.enable_deep_supervision = stages >= MIN_STAGES_FOR_DEEP_SUPERVISION
    seed_everything(seed, "segmentation", "weights")
    trainer.initialize()
    return trainer
