"""The training of an arm: nnU-Net's steps, resumed exactly.

All draws are a function of (seed, iteration) (`batches`), the schedule is one of the epoch, and validation changes
nothing; so weights, momentum, and the numbers seen so far are the whole state.
"""

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from ...base.cli import log
from ...base.errors import UserError
from ...base.job_record import note
from ...base.progress import track
from ...study.settings.segmentation import Segmentation
from ...training.checkpoint import Checkpoints
from ...training.interrupt import StopRequest, leave
from ..draws import Draws
from .batches import NumberedBatches
from .device_batches import DeviceBatches
from .precision import use_precision
from .trainer import ArmTrainer


class Fit:
    """One arm's training: a trainer, and where it stands."""

    def __init__(
        self,
        trainer: ArmTrainer,
        settings: Segmentation,
        seed: int,
        folder: Path,
        title: str,
        draws: Draws | None = None,
    ):
        self.trainer, self.settings, self.title = trainer, settings, title
        self.checkpoints = Checkpoints(folder)
        self.precision = use_precision(trainer.network, trainer.device, settings.precision)
        kind, on_gpu = NumberedBatches, trainer.device.type == "cuda"
        if on_gpu:
            kind = partial(DeviceBatches, labels=trainer.label_manager.all_labels, device=trainer.device)
        train, val = trainer.loaders()
        self.train_batches, self.val_batches = kind(train, seed, "train", draws=draws), kind(val, seed, "val")
        self.workers = settings.workers_for(torch.get_num_threads(), on_gpu)
        self.steps, self.val_steps = trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch
        self.done = 0  # training steps
        self.losses: list[float] = []  # of the current epoch's steps
        self.history: list[dict] = []  # a row an epoch
        self.saved_at = time.monotonic()
        self.kept = 0  # steps in the newest checkpoint

    def run(self) -> None:
        """Train to the end. On SIGTERM, or when a cluster job's time is up, save and raise SystemExit.

        Raises UserError if the loss is no longer finite, OSError if the last checkpoint cannot be written; before the
        last one a disk that refuses is a warning, and the training goes on.
        """
        self._load()
        total = self.trainer.num_epochs * self.steps
        with StopRequest() as stop, ExitStack() as stack:
            bar = stack.enter_context(track(total, self.title, initial=self.done))
            batches = stack.enter_context(self.train_batches.stream(self.done, total, self.workers))
            epochs = range(len(self.history), self.trainer.num_epochs)
            first, last = epochs.start * self.val_steps, epochs.stop * self.val_steps
            # one stream for all epochs: made anew, its processes would start while the GPU waits
            val_batches = stack.enter_context(self.val_batches.stream(first, last, -(-self.workers // 3)))
            for epoch in epochs:
                self.trainer.network.train()
                self.trainer.lr_scheduler.step(epoch)
                while len(self.losses) < self.steps:
                    self.losses.append(float(self.trainer.train_step(next(batches))["loss"]))
                    self.done += 1
                    bar.update(1, epoch=epoch, loss=self.losses[-1])
                    self._save_if_due(stop.number)
                self._check_finite(epoch)
                self.history.append(self._row(epoch, islice(val_batches, self.val_steps)))
                self.losses = []
                if epoch < self.trainer.num_epochs - 1:
                    self._save()
                else:
                    self.checkpoints.save(self._content(), keep=1)

    def _check_finite(self, epoch: int) -> None:
        if not np.isfinite(self.losses).all():
            raise UserError(
                f"{self.title}: the loss is no number any more in epoch {epoch}. Set segmentation.initial_learning_rate "
                f"below {self.trainer.initial_lr:g}, or segmentation.precision to 32"
            )

    def _row(self, epoch: int, val_batches: Iterator[dict]) -> dict:
        """Validate, and describe the epoch: losses, nnU-Net's pseudo Dice (over validation patches), learning rate."""
        row = {"epoch": epoch, "train_loss": float(np.mean(self.losses)), "val_loss": math.nan}
        regions = [name for name in self.trainer.dataset_json["labels"] if name != "background"]
        row |= {f"pseudo_dice_{region}": math.nan for region in regions}
        row["learning_rate"] = float(self.trainer.optimizer.param_groups[0]["lr"])
        if self.val_steps:
            self.trainer.network.eval()
            with torch.no_grad():
                parts = [self.trainer.validation_step(batch) for batch in val_batches]
            row["val_loss"] = float(np.mean([part["loss"] for part in parts]))
            hit, false, missed = (sum(part[key] for part in parts) for key in ("tp_hard", "fp_hard", "fn_hard"))
            for region, tp, fp, fn in zip(regions, hit, false, missed, strict=True):
                if tp + fp + fn > 0:  # no voxel of the region, and none predicted: there is no Dice
                    row[f"pseudo_dice_{region}"] = float(2 * tp / (2 * tp + fp + fn))
        return row

    def _save_if_due(self, signal_number: int) -> None:
        if signal_number:
            if self._save():
                log.info("%s: stopped at step %d, saved to go on from there", self.title, self.done)
            leave(signal_number)
        if time.monotonic() - self.saved_at >= self.settings.checkpoint_minutes * 60:
            self._save()

    def _save(self) -> bool:
        """Write a checkpoint. If the disk refuses, say so and go on: the one before is untouched."""
        self.saved_at = time.monotonic()
        try:
            self.checkpoints.save(self._content())
        except OSError as error:
            log.warning("%s", self.checkpoints.refusal(self.title, self.done, self.kept, error))
            return False
        self.kept = self.done
        return True

    def _content(self) -> dict:
        trainer = self.trainer
        return {
            "step": self.done,
            "network": trainer.network.state_dict(),
            "optimizer": trainer.optimizer.state_dict(),
            "scaler": trainer.grad_scaler.state_dict() if trainer.grad_scaler else None,
            "losses": self.losses,
            "history": self.history,
        }

    def _load(self) -> None:
        state = self.checkpoints.load()
        if state is None:
            return
        self.trainer.network.load_state_dict(state["network"])
        self.trainer.optimizer.load_state_dict(state["optimizer"])
        if self.trainer.grad_scaler and state["scaler"]:
            self.trainer.grad_scaler.load_state_dict(state["scaler"])
        self.done = self.kept = state["step"]
        self.losses, self.history = state["losses"], state["history"]
        log.info("%s: going on after step %d", self.title, self.done)
        note(resumed=True)

    def weights(self) -> dict[str, torch.Tensor]:
        """The network's weights on the CPU, by name."""
        state = self.trainer.network.state_dict()
        return {name: value.detach().cpu().contiguous().clone() for name, value in sorted(state.items())}
