"""Report: the cases used, those refused, and the draws that the quality gate refused."""

import os
from pathlib import Path

import pandas as pd

from ....base.files import read_json, read_tsv
from ....evaluation.statistics.ratio_table import NOT_MEASURED
from ....study.generators import AUGMENTATION_ONLY, PROVENANCE, USE
from ..blocks import Caution, Details, Heading, Notes, Run, Section, Table, Text

_NUMBER = r"(?<![\w.])[-+]?\d[\d.]*(?:e[-+]?\d+)?%?"  # reasons differ by their numbers: counted without them


def gate(run: Run) -> Section:
    """Per generator: cases made, draws refused, and how often for which reason."""
    title = "What the quality gate refused"
    synthetic = dict(run.labelled("synthetic"))
    made = {label: len(table) for label, table in synthetic.items()}
    blocks, n_refused, inside = [], 0, []
    for label, table in run.labelled("synthetic_rejected"):
        kinds = table.reason.str.replace(r"training case \S+", "training case …", regex=True)
        kinds = kinds.str.replace(_NUMBER, "…", regex=True)
        counts = kinds.value_counts().sort_index().sort_values(ascending=False, kind="stable")
        reasons = "; ".join(f"{reason} ({count})" for reason, count in counts.items())
        said = (
            f"{made.get(label, NOT_MEASURED)} synthetic cases made, {len(table)} draw{'s' * (len(table) != 1)} refused"
        )
        blocks += [Heading(label), Text(f"{said}: {reasons}." if reasons else f"{said}.")]
        n_refused += len(table)
        if PROVENANCE in synthetic.get(label, ()):
            found = synthetic[label]
            folders = os.path.commonpath([Path(file).parent for file in found.source_file])
            said = f"Provenance: {', '.join(sorted(set(found[PROVENANCE])))}. Somebody else's generator made these cases; they "
            blocks.append(Text(f"{said}were read from {folders}. Nothing was trained or sampled here."))
        if USE in synthetic.get(label, ()):
            inside.append(label)
        if len(table):
            frame = table[["reason", "number", "attempt"]].rename(columns={"number": "case number"})
            blocks.append(Details("Every refused draw", [Table(f"refused draws of {label}", frame)]))
    if not blocks:
        return Section("gate", title, [Text("Not measured.")])
    said = (
        f"{sum(made.values())} synthetic cases were made; {n_refused} draw{'s' * (n_refused != 1)} refused on the way."
    )
    cautions = []
    if inside:
        what = f"Every case of {', '.join(inside)} is made in a training patient, whose own image it shows: {AUGMENTATION_ONLY}."
        cautions.append(Caution(what))
    return Section("gate", title, [Text(said), *cautions, Details("Of each system, with the reasons", blocks)])


def _refused(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table[["case_id", "file", "reason"]].rename(columns={"case_id": name})


def cohort(run: Run) -> Section:
    """Sizes of the splits, what is odd about the cohort, the cases and reference masks that were refused with file and reason, and notes on those used."""
    cases = pd.concat([read_tsv(file) for file in run.paths("cases")])
    rejected = pd.concat([read_tsv(file) for file in run.paths("rejected")])
    splits = read_json(run.paths("splits")[0])
    train = ", ".join(f"{len(case_ids)} of {n_real} patients" for n_real, case_ids in splits["train"].items())
    blocks = [
        Text(
            f"{len(cases)} cases could be used{', all of them simulated' if run.simulated else ''}; {len(rejected)} "
            f"{'was' if len(rejected) == 1 else 'were'} refused. Test: {len(splits['test'])} cases, validation: "
            f"{len(splits['val'])}, training: {train}. The sets share no patient."
        )
    ]
    if remarks := [note for file in run.paths("remarks") for note in read_tsv(file).note]:
        blocks += [Text("To be checked, before any number below is believed:"), Notes(remarks)]
    if len(rejected):
        blocks.append(Details("The refused cases", [Table("refused cases", _refused(rejected, "refused case"), 3)]))
    for file in run.paths("reference_rejected"):
        masks = read_tsv(file)
        if len(masks):
            said = f"Of the masks that serve as a reference for shapes, {len(masks)} could not be used."
            shown = Table("refused reference masks", _refused(masks, "refused mask"), 3)
            blocks += [Text(said), Details("The refused masks", [shown])]
    notes = [f"{row.case_id}: {row.note}" for row in cases.itertuples() if getattr(row, "note", "")]
    if notes:
        blocks.append(Details(f"Notes on {len(notes)} used cases", [Notes(notes)]))
    return Section("cohort", "Cohort", blocks)
