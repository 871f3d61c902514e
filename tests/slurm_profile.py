"""The shipped profile, fit to the Slurm of the tests as a user fits it to a cluster."""

from __future__ import annotations

from pathlib import Path

import yaml
from workflow import ROOT


def fitted_profile(folder: Path, partition="cpu", gpu_partition="gpu", account="lab", **gpu_job) -> Path:
    """The shipped profile, its lines for the cluster filled in."""
    content = yaml.safe_load((ROOT / "slurm" / "config.yaml").read_text(encoding="utf-8"))
    content["default-resources"] |= {"slurm_account": account, "slurm_partition": partition}
    rules = content["set-resources"]
    content["set-resources"] = {
        name: (rules[name] or {}) | {"slurm_partition": gpu_partition} | gpu_job for name in rules
    }
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder
