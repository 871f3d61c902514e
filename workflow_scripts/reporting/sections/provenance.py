"""Report: the configuration and the versions that made the numbers."""

from __future__ import annotations

import platform
from importlib import metadata

import yaml

from ..blocks import Code, Details, Notes, Run, Section

PACKAGES = (
    "torch",
    "monai",
    "nnunetv2",
    "lightning",
    "numpy",
    "scipy",
    "pandas",
    "nibabel",
    "scikit-image",
    "snakemake",
)


def versions() -> list[tuple[str, str]]:
    """Python and the packages that make the numbers."""
    found = [("Python", platform.python_version())]
    for name in PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return found


def provenance(run: Run) -> Section:
    """The exact configuration, and the versions."""
    blocks = []
    if run.config:
        text = yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True, width=100)
        blocks.append(Details("The configuration of this run", [Code(text)]))
    blocks.append(Notes([", ".join(f"{name} {version}" for name, version in versions())]))
    return Section("provenance", "Configuration and versions", blocks)
