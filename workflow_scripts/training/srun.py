"""The tasks of a training that srun has started once for each device, on one node or several."""

import os

from ..base.errors import UserError


def count() -> int:
    """Tasks that srun started for this program; 1 outside of srun."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))


def rank() -> int:
    """Number of this task among them, from 0."""
    return int(os.environ.get("SLURM_PROCID", 0)) if count() > 1 else 0


def nodes() -> int:
    """Nodes over which the tasks are spread."""
    return int(os.environ.get("SLURM_STEP_NUM_NODES", 1))


def per_node() -> int:
    """Tasks on each node. Raises UserError where nodes have different numbers of them."""
    if count() % nodes():
        raise UserError(
            f"{count()} tasks on {nodes()} nodes: a training needs the same number on each; set `tasks_per_node` for "
            "this rule in the profile"
        )
    return count() // nodes()


def tell_lightning() -> None:
    """Name the tasks of a node where srun was given their total alone: Lightning refuses to start without.

    Raises UserError where nodes have different numbers of tasks.
    """
    os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(per_node()))


def check(devices: int) -> None:
    """Raise UserError if srun started several tasks, but not one for each of the training's `devices`."""
    if count() > 1 and count() != devices:
        raise UserError(
            f"srun started {count()} tasks for a training with `devices: {devices}`: one task a device; set `devices: "
            f"{count()}` in the config, or {devices} tasks in the `launcher` of this rule in the profile"
        )
