"""The tables and figures of a study: what each is made of, with which settings, and what it says of itself.

To add one: an entry here, its module in ``tables/`` or ``figures/``, and the files of a new input in rules/reporting.smk.
No import of a library: the rules read this in every job.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..base.errors import UserError


@dataclass(frozen=True)
class Result:
    """A table or a figure.

    name : of its files and of its module
    label : what it is, in a few words
    caption : what it shows, in a sentence; may hold {patients} ("real" or "simulated"), and {system} and {n_real} for a figure
    inputs : names in `TABLE_INPUTS` or `FIGURE_INPUTS`
    alt : of a figure, what one would see
    settings : dotted keys of the configuration that it is made with; its module finds each under its last part
    said : dotted keys that stand under it, with their values: what its numbers or pictures depend on most
    optional : those of the inputs that a study may lack
    """

    name: str
    label: str
    caption: str
    inputs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    alt: str = ""
    optional: tuple[str, ...] = ()

    def block(self, config: Mapping) -> dict:
        """The settings, by the last part of their keys."""
        return {key.rpartition(".")[2]: value_at(config, key) for key in self.settings}

    def says(self, simulated: bool, **words: str) -> tuple[str, str]:
        """Caption and alt; the words are {system} and {n_real} of a figure."""
        words["patients"] = "simulated" if simulated else "real"
        caption, alt = (text.format(**words) for text in (self.caption, self.alt))
        return f"{caption[0].upper()}{caption[1:]}" + " Simulated cohort." * simulated, alt

    def says_with_settings(self, config: Mapping, simulated: bool, **words: str) -> str:
        """The caption in reStructuredText, with the settings of `said`."""
        lines = [f"``{key}: {value_at(config, key)}``" for key in self.said]
        return self.says(simulated, **words)[0] + (f"\n\n{', '.join(lines)}" if lines else "")


def value_at(config: Mapping, key: str) -> object:
    """The value of a dotted key."""
    for part in key.split("."):
        config = config[part]
    return config


TABLE_INPUTS = {
    "scores": "scores.tsv: the scores of all arms",
    "conditions": "conditions.tsv of the training tumours, of every n_real, in a folder n_real~<N>",
    "ratios": "augmentation_ratio.csv",
    "compute": "compute.csv",
    "images": "images.tsv of every system and n_real",
    "costs": "cost.tsv of every system",
    "control": "control.tsv of every system and n_real",
    "masks": "masks.tsv of every system and n_real",
    "summaries": "memorisation_summary.tsv of every system and n_real",
}
"""Options of make_table -> the files that they take."""

_DRAWN = tuple(f"evaluation.tables.{key}" for key in ("bootstrap_samples", "confidence", "seed"))
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
        "ladder",
        "the ladder: what the study can show",
        "Real only, real and other real patients (the ceiling of any generator), their reconstructions, and each system: gains with "
        "intervals, and what autoencoder and generator cost.",
        ("scores",),
        ("evaluation.tables", "system", "segmentation.ladder", "segmentation.ratios"),
        ("segmentation.ladder", "segmentation.mixing", "segmentation.seeds", *_DRAWN),
    ),
    Result(
        "kinds",
        "kinds of tumour: training and test",
        "The ladder by kind of tumour, with and without a region, and how many training and test cases are of each kind.",
        ("scores", "conditions"),
        ("evaluation.tables", "system", "segmentation.ladder", "segmentation.ratios"),
        ("segmentation.ladder", "segmentation.mixing", "segmentation.seeds", *_DRAWN),
    ),
    Result(
        "exchange",
        "exchange rate: synthetic cases in real patients",
        "Dice of real only against the number of patients, and how many further real patients each arm is worth by it.",
        ("scores",),
        ("evaluation.tables",),
        ("segmentation.learning_curve", "splits.n_real", "segmentation.seeds", *_DRAWN),
    ),
    Result(
        "compute",
        "cost of the systems",
        "Parameters and operations of every part, counted, beside what the paper prints; seconds and peak memory, measured.",
        ("costs",),
        (
            "systems",
            "system",
            "modalities",
            "regions",
            "foreground_channel",
            "data_set.foreground.rule",
            "preprocessing.size",
        ),
        ("systems", "evaluation.cost.volumes"),
    ),
    Result(
        "systems",
        "the systems compared",
        "The systems side by side: Fréchet distance, Dice gain at one ratio, seconds, memory, parameters.",
        ("ratios", "images", "compute"),
        ("system", "evaluation.comparison_ratio"),
        ("systems", "evaluation.comparison_ratio"),
        optional=("compute",),
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
    Result("cost", "what the run cost", "What the run itself cost, stage by stage, as Snakemake measured it."),
)
TABLES = {table.name: table for table in _TABLES}

FIGURE_INPUTS = {
    "scores": "scores.tsv: the scores of all arms",
    "ratios": "augmentation_ratio.csv",
    "ladder": "ladder.csv",
    "exchange": "exchange.csv",
    "train": "manifest.json of the train subset",
    "val": "manifest.json of the val subset",
    "test": "manifest.json of the test subset",
    "blocks": "tables of the synthetic cases, block by block",
    "synthetic": "cases.tsv beside the synthetic cases",
    "audit": "memorisation.tsv of the system",
    "sweep": "control_sweep.tsv of the system",
    "slices": "control_sweep.safetensors of the system",
}
"""Options of make_figure -> the files that they take."""

_FIGURES = (
    Result(
        "dice_vs_ratio",
        "Dice against augmentation ratio",
        "Mean test Dice against the number of synthetic cases for each real training patient, a panel a region and a row a "
        "number of real patients; bars are intervals of the paired difference, put on the real-only mean and cut at 0 and 1.",
        ("scores", "ratios"),
        said=TABLES["augmentation_ratio"].said,
        alt="Mean test Dice against the number of synthetic cases for each real patient, a panel a region, with intervals; "
        "the tables below hold every number of it.",
    ),
    Result(
        "ladder",
        "the ladder: gains over real only",
        "Gain of Dice over real only at each rung, a panel a region and a row a number of real patients: other real patients (the "
        "ceiling), their reconstructions, and the systems; bars are intervals of the paired difference.",
        ("ladder",),
        said=TABLES["ladder"].said,
        alt="Gain of Dice over real only at each rung of the ladder, a panel a region, with intervals; the tables below hold "
        "every number of it.",
    ),
    Result(
        "exchange",
        "exchange rate: Dice against real patients",
        "Dice of real only against the number of patients, with the curve by which arms are priced; each arm at the number of "
        "patients that it is worth.",
        ("exchange",),
        said=TABLES["exchange"].said,
        alt="Dice of real only against the number of patients on a logarithmic axis, a panel a region, with intervals; arms with "
        "synthetic cases stand at their own number, with a line to where the curve reaches their Dice.",
    ),
    Result(
        "real_and_synthetic",
        "real and synthetic cases",
        "{patients} training patients and synthetic ones of {system}, n_real = {n_real}.",
        ("train", "blocks"),
        ("evaluation.figures", "regions"),
        ("evaluation.figures.cases", "evaluation.figures.modality"),
        alt="Slices in three planes through the tumour, with its regions outlined: {patients} patients on the left, synthetic "
        "ones of {system} on the right, n_real = {n_real}.",
    ),
    Result(
        "memorisation",
        "synthetic cases and their nearest training cases",
        "Synthetic cases of {system} beside their nearest training cases, n_real = {n_real}; last a held-out patient beside "
        "the nearest one.",
        ("train", "val", "test", "synthetic", "audit"),
        ("evaluation.figures", "regions"),
        ("evaluation.figures.cases", "evaluation.figures.modality", "memorisation"),
        alt="Synthetic cases of {system}, n_real = {n_real}, each beside its nearest training case in the same pose, and the "
        "difference of the two; last a held-out patient likewise.",
    ),
    Result(
        "control_sweep",
        "one tumour that grows and moves",
        "One tumour of {system} that grows and moves, n_real = {n_real}.",
        ("sweep", "slices"),
        ("evaluation.figures",),
        ("evaluation.control.sweep_steps", "evaluation.figures.modality", "synthesis.seed"),
        alt="Synthetic volumes of {system}, n_real = {n_real}, from the same noise: the tumour grows in one row, and moves "
        "along each axis in the others, with the requested and the measured values.",
    ),
)
FIGURES = {figure.name: figure for figure in _FIGURES}


def add_inputs(parser: argparse.ArgumentParser, inputs: Mapping[str, str]) -> None:
    """Add an option for each of the inputs."""
    for name, words in inputs.items():
        parser.add_argument(f"--{name}", nargs="+", type=Path, help=words)


def read_inputs(args: argparse.Namespace, result: Result, inputs: Mapping[str, str]) -> dict[str, list[Path]]:
    """The files of a table or figure by the names of its inputs. Raises UserError where one was not given."""
    files = {name: getattr(args, name) for name in result.inputs}
    if missing := [
        f"--{name} ({inputs[name]})" for name, found in files.items() if not found and name not in result.optional
    ]:
        raise UserError(f"{result.name} is made of {', '.join(missing)} too")
    return files
