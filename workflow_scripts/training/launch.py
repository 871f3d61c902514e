"""Starting a training: one process or one for each device, here or where srun has put them, and its end for all."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision, Precision
from lightning.fabric.plugins.environments import LightningEnvironment, SLURMEnvironment
from lightning.fabric.strategies import DDPStrategy
from torch import Tensor
from torch.multiprocessing import ProcessExitedException

from ..base.cli import log
from ..base.errors import UserError
from ..base.job_record import note
from ..study.settings.training import TrainSettings
from . import devices, srun
from .checkpoint import Checkpoints
from .curves import Curves
from .interrupt import StopRequest, leave
from .loop import TrainingRun
from .state import StateFolder
from .task import Task


def train(task: Task, settings: dict | TrainSettings, state: StateFolder, title: str) -> dict[str, dict[str, Tensor]]:
    """Train to the end, from the newest checkpoint in `state` where there is one.

    Returns a dict of player to weights (averaged where ema_half_life_steps > 0), fp32 on the CPU, named as in its
        state_dict

    ``state.folder / "loss.csv"`` then holds the curve: step, and each player's loss, terms, gradient norm and learning
    rate, means over log_every_steps steps.

    Raises UserError: wrong settings, a loss that is no longer finite, or a final checkpoint that cannot be written.
    Raises SystemExit: 128 + signal number, after SIGTERM, SIGINT or the end of a cluster job's time, and a checkpoint.
    """
    if not isinstance(settings, TrainSettings):
        settings = TrainSettings.read(settings, "training")
    srun.check(settings.devices)
    checkpoints = Checkpoints(state.folder)
    saved = checkpoints.load()
    if saved is None or not saved["finished"]:
        saved = None  # read again by the run itself: two copies may not fit into memory
        devices.check_devices(settings.devices)
        _launch(task, settings, state.folder, title)
        if srun.rank() > 0:
            raise SystemExit(0)  # the first task writes what the program makes
        saved = checkpoints.load()
        if saved is None:
            raise UserError(
                f"{title}: what it ended with cannot be read from {state.folder}: run the same command again"
            )
    curves = Curves(state.folder, saved["columns"], saved["rows"])
    curves.close()
    return saved["weights"]


def _launch(task: Task, settings: TrainSettings, folder: Path, title: str) -> None:
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    device = devices.default_device()
    precision = devices.resolve_precision(settings.precision, device)
    processes = srun.count()
    if processes > 1:
        srun.tell_lightning()
    fabric = Fabric(
        accelerator=device.type,
        devices=srun.per_node() if processes > 1 else settings.devices,
        num_nodes=srun.nodes() if processes > 1 else 1,
        strategy=_strategy(processes) if settings.devices > 1 else "auto",
        plugins=[
            _Autocast("bf16-mixed", device.type) if precision == "bf16" else Precision(),
            # Slurm's only where srun started a process for each device: else a job is one task
            SLURMEnvironment(auto_requeue=False) if processes > 1 else LightningEnvironment(),
        ],
    )
    log.info("%s: on %s", title, devices.describe(device, precision, settings.devices))
    note(gpus=settings.devices * (device.type == "cuda"))
    run = partial(_run, task=task, settings=settings, folder=folder, title=title)
    with StopRequest() as stop:
        if settings.devices == 1 or processes > 1:
            fabric.launch()
            outcome, detail = run(fabric)
        else:
            threads = max(1, torch.get_num_threads() // settings.devices)
            # bound, not passed: Lightning searches arguments for modules, and stumbles over a frozen dataclass
            work = partial(run, threads=threads, level=log.getEffectiveLevel())
            try:
                outcome, detail = fabric.launch(work)
            except ProcessExitedException:
                if not stop.number:
                    raise
                outcome, detail = "stopped", stop.number  # before the processes had begun
    if outcome == "error":
        raise UserError(detail)
    if outcome == "stopped":
        leave(stop.number or int(detail))


class _Autocast(MixedPrecision):
    """Operations choose their precision; what a network is told, such as its time step, is not rounded before."""

    def convert_input(self, data: Any) -> Any:
        return data


def _strategy(processes: int) -> DDPStrategy:
    """Processes of our own, or those that srun has started."""
    return DDPStrategy(start_method="popen" if processes > 1 else "spawn", forward_sync_buffers=False)


def _run(
    fabric: Fabric, task: Task, settings: TrainSettings, folder: Path, title: str, threads: int = 0, level: int = 0
) -> tuple[str, int | str]:
    """One process of a training: ("finished", 0), ("stopped", signal) or ("error", sentence), on all ranks alike."""
    if threads:  # a spawned process starts from nothing
        logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
        logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
        devices.use_threads(threads)
        _own_memory(task)
    try:
        with StopRequest() as stop, torch.random.fork_rng(devices=[]):
            return TrainingRun(fabric, task, settings, folder, title).run(stop)
    except UserError as error:
        return "error", str(error)


def _own_memory(task: Task) -> None:
    """Tensors reach a spawned process as shared memory: each process must train weights of its own."""
    for player in task.players.values():
        for tensor in (*player.module.parameters(), *player.module.buffers()):
            tensor.data = tensor.data.clone()
