"""The tables and figures of a study: what each is made of, with which settings, and what it says of itself.

To add one: an entry here, its module in ``tables/`` or ``figures/``, and the files of a new input in rules/reporting.smk.
No import but of the standard library: the rules read this in every job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Result:
    """A table or a figure.

    name : of its files and of its module
    label : what it is, in a few words
    caption : what it shows, in a sentence; may hold {patients} ("real" or "simulated"), and {system} and {n_real} for a figure
    inputs : names of `INPUTS` or of the figure's own files
    settings : dotted keys of the configuration that it is made with; its module finds each under its last part
    said : dotted keys that stand under it, with their values: what its numbers or pictures depend on most
    """

    name: str
    label: str
    caption: str
    inputs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    said: tuple[str, ...] = field(default=())

    def block(self, config: Mapping) -> dict:
        """The settings, by the last part of their keys."""
        return {key.rpartition(".")[2]: value_at(config, key) for key in self.settings}

    def said_of(self, config: Mapping, simulated: bool, **words: str) -> str:
        """The caption in reStructuredText, with the settings of `said`."""
        words["patients"] = "simulated" if simulated else "real"
        text = self.caption.format(**words)
        lines = [f"``{key}: {value_at(config, key)}``" for key in self.said]
        return f"{text[0].upper()}{text[1:]}" + (f"\n\n{', '.join(lines)}" if lines else "")


def value_at(config: Mapping, key: str) -> object:
    """The value of a dotted key."""
    for part in key.split("."):
        config = config[part]
    return config


INPUTS = {
    "scores": "scores.tsv: the scores of all arms",
    "ratios": "augmentation_ratio.csv",
    "compute": "compute.csv",
    "images": "images.tsv of every system and n_real",
    "costs": "cost.tsv of every system, or of every depth decoder",
    "control": "control.tsv of every system and n_real",
    "masks": "masks.tsv of every system and n_real",
    "summaries": "memorisation_summary.tsv of every system and n_real",
    "quality": "reconstruction.tsv of every depth decoder",
    "synthetic": "decoders.tsv of every system",
    "fids": "decoder_fid.tsv of every system",
}
"""Options of make_table -> the files that they take."""

_TABLES = (
    Result(
        "augmentation_ratio",
        "segmentation by augmentation ratio",
        "Segmentation scores of every arm, with intervals of the paired difference to real cases alone.",
        ("scores",),
        ("evaluation.tables",),
        (
            *("segmentation.ratios", "segmentation.controls", "segmentation.seeds"),
            *(f"evaluation.tables.{key}" for key in ("bootstrap_samples", "confidence", "power", "seed")),
        ),
    ),
    Result(
        "compute",
        "cost of the systems",
        "Parameters and operations of every part, counted, beside what the paper prints; seconds and peak memory, measured.",
        ("costs",),
        ("systems", "system", "modalities", "regions", "preprocessing.size"),
        ("systems", "evaluation.cost.volumes"),
    ),
    Result(
        "systems",
        "the systems compared",
        "The systems side by side: Fréchet distance, Dice gain at one ratio, seconds, memory, parameters.",
        ("ratios", "images", "compute"),
        ("system", "evaluation.comparison_ratio"),
        ("systems", "evaluation.comparison_ratio"),
    ),
    Result(
        "images",
        "image quality",
        "Image quality of each system beside what real cases reach with as many cases (the floor).",
        ("images",),
        said=("evaluation.images",),
    ),
    Result(
        "control",
        "control: requested against measured tumours",
        "Requested against measured tumours, requests from held-out patients, without the quality gate.",
        ("control",),
        ("evaluation.tables",),
        ("evaluation.control.requests", *(f"evaluation.tables.{key}" for key in ("bootstrap_samples", "confidence"))),
    ),
    Result(
        "masks",
        "masks: validity and shapes",
        "Validity of synthetic masks, and their shapes against real ones by two-sample tests.",
        ("masks",),
        said=("evaluation.masks.permutations", "evaluation.masks.reference_root"),
    ),
    Result(
        "memorisation",
        "memorisation",
        "How many synthetic cases are copies of a training case.",
        ("summaries",),
        ("evaluation.tables.confidence",),
        ("memorisation",),
    ),
    Result(
        "depth_decoder",
        "decoding along depth",
        "Decoding along depth against decoding slice by slice, on validation cases and on synthetic ones, and what it costs.",
        ("quality", "costs", "synthetic", "fids"),
        ("evaluation.tables",),
        ("systems", "evaluation.decoders"),
    ),
    Result("cost", "what the run cost", "What the run itself cost, stage by stage, as Snakemake measured it."),
)
TABLES = {table.name: table for table in _TABLES}
