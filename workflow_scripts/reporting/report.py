"""The report: one HTML file that opens offline, made from the tables and figures of a run.

No date and no host is written: the same numbers make the same bytes.
"""

from __future__ import annotations

import base64
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import jinja2
import pandas as pd
import yaml

from ..base.errors import UserError
from ..base.files import read_tsv
from .answer import answer
from .image_tables import image_notes, image_parts
from .system_tables import (
    comparison_notes,
    compute_notes,
    readable_comparison,
    readable_costs,
    readable_published,
)
from .tables import NOT_MEASURED, SIMULATED, caption, number, readable

_NUMBER = r"(?<![\w.])[-+]?\d[\d.]*(?:e[-+]?\d+)?%?"  # reasons differ by their numbers: counted without them
TEMPLATES = Path(__file__).parent / "templates"
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


def data_uri(path: str | Path) -> str:
    """A PNG or SVG file as a data: address. Raises UserError if it is missing or another format."""
    path = Path(path)
    kinds = {".png": "image/png", ".svg": "image/svg+xml"}
    if path.suffix not in kinds:
        raise UserError(f"figure {path} is neither PNG nor SVG")
    try:
        payload = base64.b64encode(path.read_bytes()).decode()
    except FileNotFoundError:
        raise UserError(f"missing figure {path}: run the stage that makes it again") from None
    return f"data:{kinds[path.suffix]};base64,{payload}"


def ratio_sections(table: pd.DataFrame) -> list[dict]:
    """For each n_real the readable ratio table: header, and for each region its rows of text."""
    sections = []
    for n_real, part in table.groupby("n_real", sort=True):
        shown = readable(part)
        regions = [
            (region, rows.drop(columns="region").to_numpy().tolist())
            for region, rows in shown.groupby("region", sort=False)
        ]
        sections.append({"n_real": n_real, "header": list(shown.columns[1:]), "regions": regions})
    return sections


def system_sections(systems: pd.DataFrame | None, compute: pd.DataFrame | None) -> list[dict]:
    """The comparison and the costs of the systems, readable, each with its notes; those that are given."""
    sections = []
    if systems is not None:
        parts = [(f"Dice gain at {systems.ratio.iloc[0]:g}x", readable_comparison(systems))]
        notes = comparison_notes(systems)
        sections.append({"id": "systems", "title": "The systems compared", "parts": parts, "notes": notes})
    if compute is not None:
        parts = [("This run", readable_costs(compute)), ("The paper's settings", readable_published(compute))]
        sections.append({"id": "compute", "title": "Their cost", "parts": parts, "notes": compute_notes(compute)})
    return sections


def image_section(images: pd.DataFrame | None) -> dict:
    """The image metrics, readable, with their notes; {} where they were not measured."""
    return {} if images is None else {"parts": image_parts(images), "notes": image_notes(images)}


def reconstruction_rows(tables: Sequence[tuple[str, pd.DataFrame]]) -> list[dict]:
    """Mean over cases of each metric, per autoencoder, channel and plane. `tables`: (label, reconstruction.tsv)."""
    rows = []
    for label, table in tables:
        for (metric, channel), part in table.groupby(["metric", "channel"], sort=False):
            means = part.groupby("plane", sort=False).value.mean()
            digits = 1 if metric == "psnr" else 3
            values = {plane: number(mean, digits) for plane, mean in means.items()}
            cases = part.case_id.nunique()
            rows.append({"model": label, "metric": metric, "channel": channel, "values": values, "n_cases": cases})
    return rows


def gate_rows(rejected: Sequence[tuple[str, pd.DataFrame]], made: Sequence[tuple[str, pd.DataFrame]]) -> list[dict]:
    """Per generator: cases made, draws refused, and how often for which reason. Both: (label, table)."""
    counts = {label: len(table) for label, table in made}
    rows = []
    for label, table in rejected:
        kinds = table.reason.str.replace(_NUMBER, "…", regex=True)
        reasons = kinds.value_counts().sort_index().sort_values(ascending=False, kind="stable")
        rows.append(
            {
                "label": label,
                "made": counts.get(label, NOT_MEASURED),
                "refused": len(table),
                "reasons": list(reasons.items()),
                "draws": [
                    {"number": row.number, "attempt": row.attempt, "reason": row.reason} for row in table.itertuples()
                ],
            }
        )
    return rows


def versions() -> list[tuple[str, str]]:
    """Python and the packages that make the numbers."""
    found = [("Python", platform.python_version())]
    for name in PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return found


def labelled(files: Sequence[str | Path]) -> list[tuple[str, pd.DataFrame]]:
    """Tables with the folders that tell them apart: ``n_real~20 / slice_ldm`` of n_real~20/synthetic/slice_ldm/."""
    tables = []
    for file in files:
        parts = Path(file).resolve().parts[:-1]
        size = [part for part in parts if part.startswith("n_real~")][-1:]
        tables.append((" / ".join([*size, parts[-1]]), read_tsv(file)))
    return tables


def render(
    table: pd.DataFrame,
    figures: Sequence[str | Path],
    synthetic_rejected: Sequence[str | Path],
    synthetic_cases: Sequence[str | Path],
    reconstruction: Sequence[str | Path],
    cases: pd.DataFrame,
    splits: dict,
    rejected: pd.DataFrame,
    simulated: bool,
    config: dict,
    systems: pd.DataFrame | None = None,
    compute: pd.DataFrame | None = None,
    images: pd.DataFrame | None = None,
) -> str:
    """The HTML text. `table` as of ``read_ratio_table``; cases and rejected as of the cohort's files."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("report.html.jinja").render(
        simulated=SIMULATED if simulated else "",
        answer=answer(table),
        caption=[sentence for sentence in caption(table, simulated) if sentence != SIMULATED],
        sections=ratio_sections(table),
        system_tables=system_sections(systems, compute),
        figures=[{"name": Path(file).stem.replace("_", " "), "uri": data_uri(file)} for file in figures],
        images=image_section(images),
        reconstruction=reconstruction_rows(labelled(reconstruction)),
        gate=gate_rows(labelled(synthetic_rejected), labelled(synthetic_cases)),
        n_cases=len(cases),
        n_test=len(splits["test"]),
        n_val=len(splits["val"]),
        n_train={n_real: len(case_ids) for n_real, case_ids in splits["train"].items()},
        notes=[(row.case_id, row.note) for row in cases.itertuples() if getattr(row, "note", "")],
        rejected=[(row.case_id, row.file, row.reason) for row in rejected.itertuples()],
        config=yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=100) if config else "",
        versions=versions(),
    )
