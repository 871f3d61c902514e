"""The table of image metrics: every system beside what real cases reach."""

from collections.abc import Sequence

import pandas as pd

from ...base.errors import UserError
from ...base.files import read_tsv
from ...evaluation.metrics import METRICS
from ...evaluation.statistics.jackknife import FEWEST
from ...evaluation.statistics.ratio_table import NOT_MEASURED
from ..looks import region_name
from .cells import with_interval
from .text import Table


def image_table(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Rows of images.tsv of all systems and n_real, rounded; what was not measured is the text "not measured".

    Raises UserError where a synthetic value has no value of real cases beside it.
    """
    table = pd.concat(parts, ignore_index=True)
    keys = ["n_real", "system", "metric", "plane", "modality"]
    for key, part in table.groupby(keys, sort=False):
        wanted = {"synthetic", "real" if METRICS[key[2]].of_one_set else "floor"}
        if set(part.comparison) != wanted:
            raise UserError(
                f"images.tsv of {key[1]}, n_real={key[0]}: {' '.join(key[2:])} has {sorted(set(part.comparison))}, not "
                f"{sorted(wanted)}. Run `snakemake -R evaluate_images`"
            )
    counts = [name for name in table.columns if name.startswith("n_")]
    return table.astype(dict.fromkeys(counts, "Int64")).map(_cell)


def _cell(value: object) -> object:
    if pd.isna(value):
        return NOT_MEASURED
    return round(value, 8) if isinstance(value, float) else value


def fid_rows(images: pd.DataFrame) -> pd.DataFrame:
    """The Fréchet distances over all modalities, a row a system, plane and comparison, in a column fid."""
    rows = images[(images.metric == "fid") & (images.modality == "all")]
    return rows.rename(columns={"value": "fid"}).reset_index(drop=True)


def _values(part: pd.DataFrame) -> dict[str, pd.Series]:
    return {"real" if row.comparison == "floor" else row.comparison: row for _, row in part.iterrows()}


def _shown(row: pd.Series) -> str:
    return with_interval(row.value, row.lower, row.upper, METRICS[row.metric].digits)


def widest_plane(table: pd.DataFrame) -> str:
    """The plane of the distances that stands for all: "joint" where there is one."""
    planes = list(table[table.metric == "fid"].plane)
    return "joint" if "joint" in planes else planes[0]


def readable_images(table: pd.DataFrame) -> pd.DataFrame:
    """One row a system, n_real and metric, over all planes and modalities: synthetic, real, n."""
    chosen = table[(table.modality == "all") & table.plane.isin((widest_plane(table), "volume"))]
    rows = []
    for (n_real, system, metric), part in chosen.groupby(["n_real", "system", "metric"], sort=False):
        shown_as = METRICS[metric]
        values = _values(part)
        own = values["synthetic"]
        shown = {"system": system, "real patients": str(n_real), "metric": shown_as.title, "better": shown_as.better}
        shown |= {"synthetic": _shown(own), "real": _shown(values["real"]), "cases": str(own.n_cases)}
        rows.append(shown | {"samples": f"{own.n_samples} {shown_as.samples}"})
    return pd.DataFrame(rows)


def readable_planes(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Some metrics of each plane and modality, real cases in parentheses, with n."""
    chosen = table[table.metric.isin(metrics) & (table.plane != "joint")]
    rows = []
    for (n_real, system, plane, modality), part in chosen.groupby(
        ["n_real", "system", "plane", "modality"], sort=False
    ):
        shown = {"system": system, "real patients": str(n_real), "plane": plane, "modality": modality}
        for metric in metrics:
            values = _values(part[part.metric == metric])
            text = f"{_shown(values['synthetic'])} ({_shown(values['real'])})" if values else NOT_MEASURED
            shown[METRICS[metric].title] = text
        shown["cases"] = str(part.n_cases.iloc[0])
        if "fid" in metrics:
            images = part[part.metric == "fid"].n_samples
            shown["slice images"] = str(images.iloc[0]) if len(images) else NOT_MEASURED
        rows.append(shown)
    return pd.DataFrame(rows)


def readable_through_plane(table: pd.DataFrame) -> pd.DataFrame:
    """Gradient ratio of each modality."""
    rows = []
    chosen = table[table.metric == "gradient_ratio"]
    for (n_real, system, modality), part in chosen.groupby(["n_real", "system", "modality"], sort=False):
        values = _values(part)
        shown = {"system": system, "real patients": str(n_real), "modality": modality}
        shown |= {"synthetic": _shown(values["synthetic"]), "real": _shown(values["real"])}
        rows.append(shown | {"cases": str(values["synthetic"].n_cases)})
    return pd.DataFrame(rows)


def readable_normalised(table: pd.DataFrame) -> pd.DataFrame:
    """Mean z-scores by place, a column a modality, real cases in parentheses."""
    rows = []
    chosen = table[table.metric == "normalised_mean"]
    for (n_real, system, place), part in chosen.groupby(["n_real", "system", "plane"], sort=False):
        shown = {"system": system, "real patients": str(n_real), "place": region_name(place)}
        for modality, own in part.groupby("modality", sort=False):
            values = _values(own)
            shown[modality] = f"{_shown(values['synthetic'])} ({_shown(values['real'])})"
        rows.append(shown | {"cases": str(part[part.comparison == "synthetic"].n_cases.iloc[0])})
    return pd.DataFrame(rows)


def image_parts(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The readable tables, each with its heading; those that hold anything."""
    parts = [("All planes and modalities", readable_images(table))]
    for heading in dict.fromkeys(metric.heading for metric in METRICS.values() if metric.heading):
        metrics = [name for name, metric in METRICS.items() if metric.heading == heading]
        parts.append((heading[0].upper() + heading[1:], readable_planes(table, metrics)))
    parts.append(("Gradients through the planes", readable_through_plane(table)))
    parts.append(("What a segmenter sees: mean z-scores over the foreground", readable_normalised(table)))
    return [(heading, part) for heading, part in parts if len(part)]


def _notes_of(table: pd.DataFrame, metric: str) -> str:
    notes = sorted({str(note) for note in table[table.metric == metric].note})
    return f" ({'; '.join(notes)})" if notes else f" ({NOT_MEASURED})"


def image_notes(table: pd.DataFrame) -> list[str]:
    """What the numbers are."""
    first = table.iloc[0]
    distances = table[table.metric == "fid"]
    where = f"slices of {first.slice_size} x {first.slice_size} pixels" if first.slice_size else "whole volumes"
    notes = [
        f"Features of {first.feature_network} (SHA-256 of the weights {first.weights_sha256[:12]}) over {where}; not "
        "comparable with values by another network. Every modality enters as a grey image of its own.",
        "Of a real patient's time points the first counts alone: the others are no independent cases.",
        "Synthetic: synthetic cases against real validation and test cases, which the generator never saw. Real: for "
        "distances the floor, real training cases against the same reference at the same number of cases and slices, which "
        "is what a perfect generator would reach here; for MS-SSIM and the gradient ratio the same of the reference cases.",
        "FID is over slices, of all cases. KID, MMD, precision, recall, density and coverage are over cases, whose features are the means "
        "over their slices, side by side for the planes and modalities of a row: slices of one case are not independent. By "
        "plane and modality, the real value stands in parentheses.",
        f"Brackets: {first.confidence:.0%} intervals over cases ({first.bootstrap_samples} resamples; Wilson's for precision, "
        "recall and coverage, whose other set is held fixed). Near 0 those of KID and MMD are wide rather than narrow.",
        f"Those of FID: {first.confidence:.0%}, by a jackknife that leaves out groups of cases of both sets at once "
        "(evaluation.images.jackknife_groups; normal quantile, never below 0); they say what other cases would change, not how "
        f"far few slices bias it upward, which its floor does. None with fewer than {FEWEST} cases or groups.",
        "MS-SSIM: in 3D, of pairs of cases of one set; above real, the cases are more alike than real ones"
        f"{_notes_of(table, 'ms_ssim')}.",
        "Through-plane gradient ratio: mean absolute gradient along the depth over that in the planes, in the foreground; "
        "above real, neighbouring slices fit worse than in real cases, below real, the depth is smoothed.",
        "Mean z-scores: after the normalisation of each case by mean and standard deviation of its foreground, as nnU-Net "
        "does it; at the rim, the outermost voxels of the foreground, and in each region less the regions within it.",
        f"Precision, recall, density and coverage: by balls around cases{_notes_of(table, 'precision')}.",
    ]
    if (distances.n_samples.astype(int) < int(first.feature_dimension)).any():
        notes.append(
            f"There are fewer slice images than the {first.feature_dimension} features in some rows: those FIDs are biased "
            "upward, and only the comparison with the floor counts."
        )
    return notes


TABLE = Table(
    "Image quality",
    lambda files, settings: image_table([read_tsv(file) for file in files["images"]]),
    lambda table, settings: image_parts(table),
    lambda table, simulated: image_notes(table),
    text_columns=2,
)
