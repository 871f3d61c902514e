"""The augmentation-ratio table in words: rounded, captioned, as Markdown to read and LaTeX to print."""

import pandas as pd

from ...evaluation.lesions import LESION_CONVENTION
from ...evaluation.scores import read_scores
from ...evaluation.segmentation_scores import EMPTY_CONVENTION
from ...evaluation.statistics.bootstrap import best_coverage
from ...evaluation.statistics.comparison import NONE_DETECTABLE, REFERENCE, difference_columns, metrics_of
from ...evaluation.statistics.ratio_table import NOT_MEASURED, ratio_table
from ...evaluation.statistics.significance import smallest_wilcoxon_p
from ...study.arms import CEILING, MIXING, NO_CONTROL, OVERSAMPLED, REAL_ONLY, REPLACE
from ...study.segmenters import SEGMENTERS
from ..looks import region_name
from .cells import SIMULATED, count_of, ends, hd_stem, marked, number, onset_note, segmenter_cell
from .text import LATEX_HEAD, Table, latex_table


def _arm_cells(table: pd.DataFrame, row: pd.Series) -> dict:
    """What the arm is."""
    system = "" if row.system == REAL_ONLY else row.system
    by = segmenter_cell(table, row)
    return {"region": region_name(row.region), **by, "system": system, "training cases": row.arm}


def _segmenters(table: pd.DataFrame) -> str:
    """Their names, such as ``nnU-Net``."""
    return " and ".join(SEGMENTERS[name] for name in table.segmenter.drop_duplicates())


def p_cell(value: object) -> str:
    return "<0.001" if not isinstance(value, str) and value < 0.001 else number(value, 3)


def difference_cell(row: pd.Series, name: str, unit: str, digits: int) -> str:
    """A metric's difference to real only with its interval."""
    value, low, high = (row[column] for column in difference_columns(name, unit))
    if value == REFERENCE:
        return value
    return f"{number(value, digits, True)} {ends(low, high, lambda end: number(end, digits, True))}"


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Dice and its difference to real only, as people read it: one column an idea, rounded, all cells text."""
    return pd.DataFrame(
        {
            **_arm_cells(table, row),
            "Dice": marked(number(row.dice_mean, 3), row.onset),
            "Dice sd cases": number(row.dice_sd_cases, 3),
            "Dice sd seeds": number(row.dice_sd_seeds, 3),
            "Dice minus real only": difference_cell(row, "dice", "", 3),
            "p": p_cell(row.dice_wilcoxon_p),
            "p, Holm": p_cell(row.dice_wilcoxon_p_holm),
            "detectable": number(row.dice_detectable, 3),
        }
        for _, row in table.iterrows()
    )


def readable_lesions(table: pd.DataFrame) -> pd.DataFrame:
    """Surface distances and lesion-wise scores, as people read them."""
    stem = hd_stem(table)
    hd = stem.upper()

    def small_hit(row: pd.Series) -> str:
        if not row.small_lesions:
            return "there are none"
        return f"{number(row.small_lesion_sensitivity, 2)} ({row.small_lesions_hit} of {row.small_lesions})"

    return pd.DataFrame(
        {
            **_arm_cells(table, row),
            f"{hd} mm": number(row[f"{stem}_mean_mm"], 1),
            f"{hd} sd cases": number(row[f"{stem}_sd_cases_mm"], 1),
            "empty in one": f"{row.empty_in_one} of {row.n_cases * row.n_seeds}",
            "lesion Dice": marked(number(row.lesion_dice_mean, 3), row.onset),
            f"lesion {hd} mm": number(row[f"lesion_{stem}_mean_mm"], 1),
            "lesions missed": f"{row.lesions_missed} of {row.lesions}",
            "false lesions": str(row.lesions_false),
            "small lesions hit": small_hit(row),
        }
        for _, row in table.iterrows()
    )


def readable_differences(table: pd.DataFrame) -> pd.DataFrame:
    """What the other metrics than Dice change against real only, a row an arm but for real only itself."""
    stem, rows = hd_stem(table), []
    for _, row in table[table.holm_tests != REFERENCE].iterrows():
        cells = _arm_cells(table, row)
        for name, unit in metrics_of(stem)[1:]:
            words = name.replace("_", " ").replace("dice", "Dice").replace(stem, stem.upper())
            cells[words + unit.replace("_", " ")] = difference_cell(row, name, unit, 1 if unit else 3)
            cells[f"{words}: p, Holm"] = p_cell(row[f"{name}_wilcoxon_p_holm"])
        rows.append(cells)
    return pd.DataFrame(rows)


def readable_parts(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The readable tables, each with its heading; that of the differences where there is an arm to compare."""
    parts = [("Dice", readable(table)), ("Surface distance and lesions", readable_lesions(table))]
    differences = readable_differences(table)
    return parts + [("Surface distance and lesions minus real only", differences)] * (len(differences) > 0)


def _test_sentences(table: pd.DataFrame) -> list[str]:
    """What the p-values are, and what so many patients can show at all."""
    first = table.iloc[0]
    n, alpha = int(first.n_patients), 1 - float(first.confidence)
    tests = {
        kind: max((int(count) for count in part.holm_tests if not isinstance(count, str)), default=0)
        for kind, part in (
            ("synthetic", table[table.control == NO_CONTROL]),
            ("controls", table[table.control != NO_CONTROL]),
        )
    }
    if not any(tests.values()):
        return []
    own = ", segmenter" * (table.segmenter.nunique() > 1)
    controls = f"; the {count_of(tests['controls'], 'control')} among themselves" if tests["controls"] else ""
    levels = [
        f"{alpha:.3g} / {count} = {alpha / count:.3g}{' (controls)' * (kind == 'controls')}"
        for kind, count in tests.items()
        if count
    ]
    sentences = [
        'p: two-sided Wilcoxon signed-rank test on each patient\'s mean difference, zeros left out; "p, Holm": '
        f"Holm-corrected over the {count_of(tests['synthetic'], 'comparison')} with real only of a region{own} and n_real, all "
        f"ratios, mixes and systems together{controls}. Each metric is corrected for itself alone; the verdict is that of Dice.",
        f"Detectable: the smallest true gain of Dice that this test set could have shown in spite of that correction: what "
        f"a paired t-test on these patients finds with {float(first.power):.0%} power at a two-sided level of "
        f"{' and '.join(levels)}, from the standard deviation of the patients' differences (noncentral t, Cohen 1988, "
        "chapter 2); the Wilcoxon test needs a little more. A smaller gain may be there unseen.",
    ]
    smallest, most = smallest_wilcoxon_p(n), tests["synthetic"] or tests["controls"]
    if n > 1 and smallest * most >= alpha:
        corrected = f", {min(1.0, smallest * most):.3g} after the correction" if most > 1 else ""
        sentences.append(
            f"With {n} patients the Wilcoxon test cannot give less than p = {smallest:.3g}{corrected}: "
            f"no gain, however large, could be significant at {alpha:.3g} (detectable: {NONE_DETECTABLE})."
        )
    return sentences


def _lesion_sentences(first: pd.Series) -> list[str]:
    dilation, small = int(first.lesion_dilation_voxels), float(first.small_lesion_ml)
    return [
        f"Lesion-wise scores as BraTS 2023 defines them: parts of the expert's mask that a dilation by {count_of(dilation, 'voxel')} "
        "joins are one lesion; it is matched with every connected part of the prediction that touches its dilated extent; "
        f"lesions up to {float(first.lesion_min_mm3):g} mm3 are left out; {LESION_CONVENTION}. A case's score is the mean "
        'over its lesions, the table\'s over cases; "lesions missed" and "false lesions" are counted over cases x seeds.',
        f'"Small lesions hit": share of the lesions below {small:g} ml (those left out aside) that are matched with a part '
        "of the prediction; all cases and seeds together.",
    ]


def _control_sentences(table: pd.DataFrame) -> list[str]:
    """What the controls that are in the table are for."""
    controls, sentences, named = set(table.control), [], _segmenters(table)
    for control, words in (("no_augmentation", "without"), ("with_augmentation", "with")):
        if control in controls:
            sentences.append(
                f"Control {words} {named}'s augmentation: real only, all else the same; what {named}'s own data "
                "augmentation is worth on these patients, beside what the synthetic cases are."
            )
    if CEILING in controls:
        sentences.append(
            "Other real patients: the next of the nested order, as they are and, where an autoencoder is named, as it gives them "
            "back; plan and validation are those of the arm's own n_real. See the ladder."
        )
    if OVERSAMPLED in controls:
        sentences.append(
            f"Control with each case listed several times: real cases oversampled to the number of a mix. {named} draws "
            "the case of every patch uniformly from the list, and all arms make the same number of steps, so this is "
            "real only with other draws: its difference is chance, and a gain of that size is none."
        )
    return sentences


def _mixing_sentences(table: pd.DataFrame) -> list[str]:
    """How the patches of a mix are drawn, where it is in more than the one way."""
    ways = [way for way in MIXING if way in set(table.mixing)]
    if ways == [REPLACE]:
        return []
    return ["Patches of a mix are drawn " + "; ".join(f"({way.replace('_', ' ')}) {MIXING[way]}" for way in ways) + "."]


def caption(table: pd.DataFrame, simulated: bool) -> list[str]:
    """What the numbers are, in sentences: metric, split, n, seeds, interval, tests, conventions."""
    first = table.iloc[0]
    n, patients, seeds = int(first.n_cases), int(first.n_patients), int(first.n_seeds)
    confidence = float(first.confidence)
    stem = hd_stem(table).upper()
    resampled = f"{count_of(int(first.bootstrap_samples), 'resample')} of patients, each with all their cases,"
    resampled += " and of seeds" if seeds > 1 else " while the one seed stays: the spread over trainings is not in it"
    sentences = [
        f"Dice and {stem} (mm) of {_segmenters(table)}'s predictions against the expert's masks, on the original grid of each case.",
        f"Test split: {n} {'simulated' if simulated else 'real'} case{'s' * (n != 1)} of {count_of(patients, 'patient')} that "
        f"no stage has seen; {count_of(seeds, 'training seed')} an arm; means are over cases and seeds.",
        '"2x synthetic" is two synthetic cases for each real training patient. The same real training patients train '
        "the generator and the segmentation.",
        'Spread: "sd cases" is the standard deviation over cases of their mean over seeds, "sd seeds" that over seeds '
        "of their mean over cases.",
        f"Difference: arm minus real only at the same n_real, paired over cases and seeds (better is a positive one of "
        f"Dice and lesion-wise Dice, a negative one of {stem} and lesion-wise {stem}); in brackets its {confidence:.0%} "
        f"bootstrap interval (expanded percentile, {resampled}). Generators are not trained again, and the interval is "
        "not corrected for the number of arms.",
    ]
    if patients > 1 and best_coverage(patients) < confidence:
        sentences.append(
            f"With {patients} patients no bootstrap interval can cover more than {best_coverage(patients):.0%}: read the "
            "brackets as a range, not as evidence."
        )
    sentences += _test_sentences(table)
    few = [text for text, lacks in (("one test patient", patients < 2), ("one training seed", seeds < 2)) if lacks]
    if few:
        sentences.append(f'With {" and ".join(few)} the spread over it was not measured ("{NOT_MEASURED}").')
    sentences += [
        f'Convention: {EMPTY_CONVENTION}; "empty in one" counts how often the latter happened (cases x seeds).',
        *_lesion_sentences(first),
        *_control_sentences(table),
        *_mixing_sentences(table),
        *onset_note(table.onset),
        "Every arm trains the same number of iterations; at higher ratios each real case is seen less.",
    ]
    return sentences


def _parts(table: pd.DataFrame, settings: dict) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    return [
        ((f"{n_real} real training patients", heading), shown)
        for n_real, part in table.groupby("n_real", sort=True)
        for heading, shown in readable_parts(part)
    ]


def to_latex(table: pd.DataFrame, simulated: bool) -> str:
    """The readable tables of each n_real, floating, the whole caption under the first; needs booktabs and graphicx."""
    lines = [LATEX_HEAD]
    note = " ".join([SIMULATED] * simulated + caption(table, simulated))
    for n_real, part in table.groupby("n_real", sort=True):
        for place, (heading, shown) in enumerate(readable_parts(part)):
            title = f"Segmentation by augmentation ratio, {n_real} real training patients: {heading}."
            label = f"augmentation-ratio-{n_real}" + ("", "-lesions", "-differences")[place]
            said = note if place == 0 else "Conventions: in the caption of the Dice table."
            lines += latex_table(shown, f"{title} {said}", label, text_columns=3, grouped=True)
    return "\n".join(lines) + "\n"


TABLE = Table(
    "Segmentation by augmentation ratio",
    lambda files, settings: ratio_table(read_scores(files["scores"]), **settings["tables"]),
    _parts,
    caption,
    latex=to_latex,
)
