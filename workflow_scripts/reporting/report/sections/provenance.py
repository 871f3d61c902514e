"""Report: the configuration, the code and the versions that made the numbers."""

import platform
import subprocess
from importlib import metadata

import pandas as pd
import yaml

from ....base.provenance import PACKAGE, ROOT, code_digest
from ..blocks import RUN_FILE, Code, Details, Notes, Run, Section, Table

PACKAGES = ["torch", "monai", "nnunetv2", "lightning", "numpy", "scipy", "pandas", "nibabel"]
PACKAGES += ["scikit-image", "snakemake"]


def versions() -> list[tuple[str, str]]:
    """Python and the packages that make the numbers."""
    found = [("Python", platform.python_version())]
    for name in PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit of the checkout, with "-dirty" where files differ from it; "" outside a checkout or without git."""
    if not (ROOT / ".git").exists():
        return ""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def code_digests() -> list[tuple[str, str]]:
    """(program, digest of its code and of the modules that it imports) of every program of the project."""
    room = f"{PACKAGE}.programs"
    programs = sorted((path.parent.name, path.stem) for path in (ROOT / PACKAGE / "programs").glob("*/[a-z]*.py"))
    return [(name, code_digest(f"{room}.{stage}.{name}")) for stage, name in programs]


def run_yaml(run: Run) -> str:
    """The configuration of the run, for Snakemake to read."""
    return yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True, width=100)


def provenance(run: Run) -> Section:
    """The exact configuration, the versions, and the code."""
    blocks = []
    if run.config:
        said = [f"This is {RUN_FILE}, which every command of this report reads: `--configfile {RUN_FILE}`."]
        blocks.append(Details("The configuration of this run", [Code(run_yaml(run)), Notes(said)]))
    digests = pd.DataFrame(code_digests(), columns=["program", "code digest"])
    digest_note = (
        "Digest of each program and the modules it imports, comments left out: a changed one makes its stage again."
    )
    blocks.append(Details("The code of each stage", [Table("code digests", digests, 2), Notes([digest_note])]))
    made = [", ".join(f"{name} {version}" for name, version in versions()) + "."]
    if commit():
        made.append(f"SliceAug, commit {commit()}.")
    return Section("provenance", "Configuration and versions", [*blocks, Notes(made)])
