"""The shipped profile, fit to the Slurm of the tests as a user fits it to a cluster."""

from __future__ import annotations

from pathlib import Path

import yaml
from workflow import ROOT


def fitted_profile(folder: Path, gpu_partition="gpu", account="lab", small=True, **gpu_job) -> Path:
    """The shipped profile, its lines for the cluster filled in; where `small`, also jobs that the small nodes can hold."""
    content = yaml.safe_load((ROOT / "slurm" / "config.yaml").read_text(encoding="utf-8"))
    content["default-resources"] |= {"slurm_account": account, "slurm_partition": "cpu"}
    gpu_job = {"slurm_partition": gpu_partition} | ({"mem_mb": 3000, "runtime": 1440} if small else {}) | gpu_job
    content["set-resources"] = {name: resources | gpu_job for name, resources in content["set-resources"].items()}
    if small:
        content["set-threads"] = dict.fromkeys(content["set-resources"], 4)
        content["default-resources"]["node_mem_mb"] = 8000
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder
