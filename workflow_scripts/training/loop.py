"""The one training loop: any number of players, one or more devices, and an end that no interruption changes.

A step makes one global batch, and lets each player in turn take an optimizer step on its own loss (a GAN is two
players). Everything random is in the batch, a pure function of (seed, step), so that a run that was stopped anywhere
and started again makes the same steps: on a CPU, with the same number of threads and devices, to the byte.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import torch
from lightning.fabric import Fabric
from lightning.fabric.wrappers import _FabricModule, _FabricOptimizer
from torch import Tensor

from ..base.cli import log
from ..base.errors import UserError
from ..base.job_record import note
from ..base.progress import track
from ..base.seeds import seed_of
from ..study.settings.training import TrainSettings
from .checkpoint import Checkpoints
from .curves import Curves
from .devices import lay_out
from .ema import EMA
from .held_out import Choice, Weights
from .interrupt import StopRequest
from .prefetch import prefetched
from .task import Task


class TrainingRun:
    """The state of one process of a training, and its steps.

    fabric : launched
    task, settings : what to train, and how
    folder : checkpoints and curves; a run begins with the newest checkpoint in it
    title : names the training in messages
    """

    def __init__(self, fabric: Fabric, task: Task, settings: TrainSettings, folder: Path, title: str):
        self.fabric, self.task, self.settings, self.folder, self.title = fabric, task, settings, folder, title
        self.on_gpu = fabric.device.type == "cuda"
        self.checkpoints = Checkpoints(folder)
        self.modules: dict[str, _FabricModule] = {}
        self.raw: dict[str, torch.nn.Module] = {}
        self.optimizers: dict[str, _FabricOptimizer] = {}
        self.averages: dict[str, EMA] = {}
        for name, player in task.players.items():
            module = player.module.train()
            lay_out(module, fabric.device, settings.precision)
            self.raw[name] = module
            self.modules[name] = fabric.setup_module(module)
            optimizer = torch.optim.AdamW(
                [parameter for parameter in module.parameters() if parameter.requires_grad],
                lr=player.learning_rate,
                betas=player.betas,
                weight_decay=player.weight_decay,
                fused=True,
            )
            self.optimizers[name] = cast(_FabricOptimizer, fabric.setup_optimizers(optimizer))  # one in, one out
            if settings.ema_half_life_steps:
                self.averages[name] = EMA(module, settings.ema_half_life_steps)
        self.columns: list[str] = []  # until the first step
        self.rows: list[list[float]] = []
        self.window, self.count, self.start = torch.zeros(0), 0, 0
        self.bad_step = torch.tensor(-1, device=fabric.device)
        self.curves: Curves | None = None
        self.kept: int | None = None
        self.choice = Choice(getattr(task, "held_out", None))
        self._resume()

    def _resume(self) -> None:
        # Rank 0 alone judges the files, and deletes damaged ones; then all read the same one.
        saved = self.checkpoints.load() if self.fabric.global_rank == 0 else None
        self.fabric.barrier()
        saved = self.checkpoints.load() if self.fabric.global_rank else saved
        if saved is None:
            return
        for name, content in saved["players"].items():
            self.raw[name].load_state_dict(content["module"])
            self.optimizers[name].optimizer.load_state_dict(content["optimizer"])
            if name in self.averages:
                self.averages[name].load_state_dict(content["average"])
        self.choice.load_state_dict(saved["choice"])
        self.start = self.kept = saved["step"]
        self.columns, self.rows = saved["columns"], saved["rows"]
        self.count, self.window = saved["count"], saved["window"].to(self.fabric.device)
        if self.fabric.is_global_zero:
            log.info("%s: goes on from the checkpoint of step %d", self.title, self.start)
            note(resumed=True)
            self.curves = Curves(self.folder, self.columns, self.rows)  # drops rows of steps that are made again

    def run(self, stop: StopRequest) -> tuple[str, int | str]:
        steps, every = self.settings.steps, self.settings.log_every_steps
        saved_at, shown = time.monotonic(), {}
        with ExitStack() as stack:
            batches = stack.enter_context(prefetched(self._share, self.start, steps, self.settings.prefetch_batches))
            bar = None
            if self.fabric.is_global_zero:
                bar = stack.enter_context(track(steps, self.title, "step", self.start))
            for step, batch in zip(range(self.start, steps), batches, strict=True):
                values = self._step(step, batch)
                done = step + 1
                signal_number = self._agree(values, stop.number, step)
                due = done % every == 0 or done == steps
                if due or signal_number or not self.on_gpu:
                    self._check_finite()
                if not self.on_gpu or due:
                    shown = self._shown()
                if due:
                    self._log(done)
                if self.choice.due(done, steps) and self.fabric.is_global_zero:
                    with self.fabric.autocast():
                        self.choice.judge(done, self.raw, self._weights(), self.fabric.device)
                if bar:
                    bar.update(1, **shown)
                if signal_number and done < steps:
                    return self._stop(done, signal_number)
                waited = time.monotonic() - saved_at >= 60 * self.settings.checkpoint_minutes
                if due and waited and done < steps:
                    self._save(done)
                    saved_at = time.monotonic()
            self._finish()
        return "finished", 0

    def _share(self, step: int) -> dict[str, Tensor]:
        """This rank's part of the global batch, ready to be copied to its device."""
        batch = self.task.batch(step)
        rank, ranks = self.fabric.global_rank, self.fabric.world_size
        if ranks > 1:
            batch = {
                name: value[rank * len(value) // ranks : (rank + 1) * len(value) // ranks]
                for name, value in batch.items()
            }
        return {name: value.pin_memory() for name, value in batch.items()} if self.on_gpu else batch

    def _step(self, step: int, batch: dict[str, Tensor]) -> list[Tensor]:
        """Let every player take its step; the values of the curve, in the order of `columns`."""
        torch.manual_seed(seed_of("step", step, self.fabric.global_rank))  # for dropout, should a network have it
        batch = {name: value.to(self.fabric.device, non_blocking=True) for name, value in batch.items()}
        named: dict[str, Tensor] = {}
        for name, player in self.task.players.items():
            optimizer = self.optimizers[name]
            rate = player.learning_rate * self.settings.learning_rate_factor(step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            with self._alone(name):
                loss, terms = self.task.loss(name, self.modules, batch, step)
                self.fabric.backward(loss)
            norm = self._clip(name)
            optimizer.step()
            if name in self.averages:
                self.averages[name].update(step)
            values = {"loss": loss, **terms, "gradient_norm": norm, "learning_rate": torch.tensor(rate)}
            named.update({f"{name}_{key}": value.detach().double() for key, value in values.items()})
        self.columns = self.columns or list(named)
        return [named[column].to(self.fabric.device) for column in self.columns]

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Gradients flow through the other players, but not into their weights."""
        others = [other for other in self.raw if other != name]
        frozen = [weight for other in others for weight in self.raw[other].parameters() if weight.requires_grad]
        for weight in frozen:
            weight.requires_grad_(False)
        try:
            with ExitStack() as stack:
                for other in others if self.fabric.world_size > 1 else []:
                    stack.enter_context(self.fabric.no_backward_sync(self.modules[other]))
                yield
        finally:
            for weight in frozen:
                weight.requires_grad_(True)

    def _clip(self, name: str) -> Tensor:
        """L2 norm of the player's gradient before clipping."""
        weights = [weight for weight in self.raw[name].parameters() if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
        if self.settings.gradient_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(weights, self.settings.gradient_clip, norm)
        return norm

    def _agree(self, values: list[Tensor], signal_number: int, step: int) -> int:
        """Add the step's values, averaged over ranks, to the window; the signal that any rank has got, or 0."""
        several = self.fabric.world_size > 1
        stacked = torch.stack([*values, torch.tensor(float(signal_number), device=self.fabric.device).double()])
        if several:
            stacked = cast(Tensor, self.fabric.all_reduce(stacked, reduce_op="mean"))
        self.latest, asked = stacked[:-1], stacked[-1]
        self.window = self.latest.clone() if not len(self.window) else self.window + self.latest
        self.count += 1
        finite = self.latest.isfinite().all()
        self.bad_step = torch.where((self.bad_step < 0) & ~finite, step + 1, self.bad_step)
        if not several:
            return signal_number
        if self.on_gpu and step % 10:  # reading it waits for the GPU
            return 0
        return 15 if asked.item() > 0 else 0

    def _check_finite(self) -> None:
        bad = int(self.bad_step)
        if bad >= 0:
            at = f"the checkpoint of step {self.kept} is kept" if self.kept else "there is no checkpoint yet"
            raise UserError(
                f"{self.title}: the loss or its gradient is no longer a finite number at step {bad} ({at}). "
                'Lower `learning_rate`, set `gradient_clip: 1.0`, lengthen `warmup_steps`, or set `precision: "32"`'
            )

    def _shown(self) -> dict[str, float]:
        names = [column for column in self.columns if column.endswith("_loss")]
        return {name if len(names) > 1 else "loss": float(self.latest[self.columns.index(name)]) for name in names}

    def _log(self, done: int) -> None:
        means, self.window, self.count = (self.window / self.count).tolist(), torch.zeros_like(self.window), 0
        if self.fabric.is_global_zero:
            if self.curves is None:
                self.curves = Curves(self.folder, self.columns, self.rows)
            self.curves.add(done, means)
            self.rows = self.curves.rows

    def _content(self, done: int) -> dict:
        players = {
            name: {
                "module": self.raw[name].state_dict(),
                "optimizer": self.optimizers[name].optimizer.state_dict(),
                "average": self.averages[name].state_dict() if name in self.averages else None,
            }
            for name in self.raw
        }
        curve = {"columns": self.columns, "rows": self.rows, "window": self.window, "count": self.count}
        return {"step": done, "finished": False, "players": players, "choice": self.choice.state_dict(), **curve}

    def _save(self, done: int) -> bool:
        """Write a checkpoint (rank 0). If the disk refuses, say so and go on: the one before is untouched."""
        if not self.fabric.is_global_zero:
            return True
        try:
            self.checkpoints.save(self._content(done))
        except OSError as error:
            log.warning("%s", self.checkpoints.refusal(self.title, done, self.kept, error))
            return False
        self.kept = done
        return True

    def _stop(self, done: int, number: int) -> tuple[str, int]:
        saved = self._save(done)
        if self.fabric.is_global_zero:
            where = f"a checkpoint of step {done} is saved" if saved else "no new checkpoint could be saved"
            name = signal.Signals(number).name
            log.warning("%s: stopped by %s, %s; run the same command again to go on", self.title, name, where)
        self._close()
        return "stopped", number

    def _finish(self) -> None:
        """Replace the checkpoints by the result: final weights and curve."""
        if self.fabric.is_global_zero:
            chosen = self.choice.weights or self._weights()
            weights = {  # as files take them: on a GPU those of convolutions are laid out as tensor cores read them
                name: {key: value.cpu().contiguous() for key, value in of.items()} for name, of in chosen.items()
            }
            content = self._content(self.settings.steps)
            if not self._can_grow():  # else a training of more steps goes on from it: see `StateFolder.asked_for`
                del content["players"]
            try:
                self.checkpoints.save(content | {"finished": True, "weights": weights}, keep=1)
            except OSError as error:
                refusal = self.checkpoints.refusal(self.title, self.settings.steps, self.kept, error)
                raise UserError(refusal) from None
        self._close()

    def _can_grow(self) -> bool:
        """Whether a training of more steps makes these very steps, and notes and judges what this one did."""
        steps, every = self.settings.steps, self.settings.log_every_steps
        return self.settings.decay == "constant" and steps % every == 0 and self.choice.regular(steps)

    def _weights(self) -> Weights:
        """Of each player what would be kept now: the averaged weights, where there are such."""
        return {name: (self.averages.get(name) or self.raw[name]).state_dict() for name in self.raw}

    def _close(self) -> None:
        if self.curves is not None:
            self.curves.close()
