"""Report: what the synthetic images look like, and how near they come to real ones."""

from __future__ import annotations

import pandas as pd

from ...base.errors import UserError
from ...base.files import read_tsv
from ..blocks import Figure, MadeBy, Notes, Run, Section, Table, Text
from ..tables import number


def _system_of(path) -> tuple[str, str]:
    """(n_real, system) of n_real~20/real_and_synthetic_slice_ldm.png."""
    return path.parent.name.removeprefix("n_real~"), path.stem.removeprefix("real_and_synthetic_")


def case_figures(run: Run) -> Section | None:
    """Real and synthetic cases side by side, a figure a system and n_real."""
    blocks = []
    keys = [f"evaluation.figures.{key}" for key in ("cases", "modality")]
    for path in run.paths("case-figures"):
        n_real, system = _system_of(path)
        kind = "simulated" if run.simulated else "real"
        blocks.append(
            Figure(
                path,
                alt=f"Slices in three planes through the tumour, with its regions outlined: {kind} patients on the "
                f"left, synthetic ones of {system} on the right.",
                caption=f"{kind.capitalize()} training patients and synthetic ones of {system}, n_real = {n_real}.",
                program="figure_cases",
                settings=run.settings(*keys),
            )
        )
    return Section("cases", "Real and synthetic cases", blocks) if blocks else None


def fid(run: Run) -> Section:
    """FID of every system beside its floor. Raises UserError where one of the two is missing."""
    title = "Image quality: Fréchet distance and its floor"
    if not run.paths("fid"):
        return Section("images", title, [Text("Not measured.")])
    table = pd.concat([read_tsv(file) for file in run.paths("fid")], ignore_index=True)
    rows, biased = [], False
    for (n_real, system, plane), part in table.groupby(["n_real", "system", "plane"], sort=False):
        found = {row.comparison: row for row in part.itertuples()}
        if set(found) != {"synthetic", "floor"}:
            raise UserError(
                f"fid.tsv of {system}, n_real={n_real}: {plane} has {sorted(found)}, not synthetic and floor"
            )
        own, floor = found["synthetic"], found["floor"]
        biased = biased or own.n_slices < own.feature_dimension
        rows.append(
            {
                "system": system,
                "plane": plane,
                "real patients": n_real,
                "synthetic": number(own.fid, 1),
                "floor (real)": number(floor.fid, 1),
                "cases": own.n_cases,
                "slices": own.n_slices,
            }
        )
    first = table.iloc[0]
    notes = [
        f"FID over features of {first.feature_network} (SHA-256 of the weights {first.weights_sha256[:12]}), not "
        "comparable with Inception FID. Lower is better.",
        "Synthetic: synthetic against real validation and test cases, which the generator never saw. Floor: real "
        "training cases against the same reference, at the same number of cases and slices: what a perfect generator "
        "would reach here.",
        f"Every modality enters as a grey image of {first.slice_size} x {first.slice_size} pixels; all modalities of "
        "a slice are in one set.",
    ]
    if biased:
        notes.append(
            f"There are fewer slices than the {first.feature_dimension} features in some rows: the distances are "
            "biased upward, and only the comparison with the floor counts."
        )
    return Section(
        "images",
        title,
        [
            Table("Fréchet distances", pd.DataFrame(rows), 2),
            Notes(notes),
            MadeBy("evaluate_images", run.settings("evaluation.images"), str(run.paths("fid")[0])),
        ],
    )


def reconstruction(run: Run) -> Section:
    """Mean over validation cases of each metric, per autoencoder, channel and plane."""
    title = "Autoencoder: what it can show at best"
    rows = []
    for label, table in run.labelled("reconstruction"):
        for (metric, channel), part in table.groupby(["metric", "channel"], sort=False):
            means = part.groupby("plane", sort=False).value.mean()
            digits = 1 if metric == "psnr" else 3
            row = {"model": label, "metric": metric, "channel": channel, "cases": part.case_id.nunique()}
            rows.append(row | {plane: number(mean, digits) for plane, mean in means.items()})
    if not rows:
        return Section("reconstruction", title, [Text("Not measured.")])
    frame = pd.DataFrame(rows).fillna("")
    return Section(
        "reconstruction",
        title,
        [Table("reconstruction by the autoencoders", frame, 3), Notes(["Means over the validation cases."])],
    )
