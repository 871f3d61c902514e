"""The answer in three sentences and in more, from the rows of the ratio table. It claims no more than the intervals carry."""

import pandas as pd

from ...evaluation.statistics.ladder import is_limited
from ...evaluation.statistics.onset import is_early
from ...evaluation.statistics.verdict import verdict_of
from ...study.arm_labels import label_of
from ...study.arms import CEILING, OVERSAMPLED, REAL_SHARE, SYNTHETIC_FIRST, Arm
from ...study.segmenters import SEGMENTERS
from ..looks import region_name
from ..tables.cells import EARLY, count_of, number


def _interval(row: pd.Series) -> str:
    if isinstance(row.dice_difference_low, str):
        return "interval not measured"
    low, high = number(row.dice_difference_low, 3, True), number(row.dice_difference_high, 3, True)
    return f"{float(row.confidence):.0%} interval {low} to {high}"


_WORDS = {
    "no ceiling": "There is no verdict: not even other real patients, the ceiling, were shown to be better than real only.",
    "helped": "The interval lies above zero: synthetic cases helped.",
    "harmed": "The interval lies below zero: even the best ratio was worse than real cases alone.",
    "unclear": "The interval holds zero: neither gain nor loss could be shown with this test set.",
    "unconfirmed": "The interval leaves out zero, but the Wilcoxon test, corrected for the number of arms, does not confirm it.",
    "too few": "So few test patients allow no verdict.",
    "unmeasured": "With one test patient there is no interval, and no verdict.",
}


def _verdict(row: pd.Series, ceiling: pd.Series | None) -> str:
    """What a difference says; none where the ceiling of its n_real is not above real only."""
    return verdict_of(row) if ceiling is None or is_limited(ceiling, "dice_difference") else "no ceiling"


def _way(arm: Arm) -> str:
    """How the patches of a mix were drawn, where not uniformly."""
    return {REAL_SHARE: ", with a fixed real share", SYNTHETIC_FIRST: ", these first, then real ones alone"}.get(
        arm.mixing, ""
    )


def _detectable(row: pd.Series, verdict: str) -> str:
    """Where nothing was shown: what could have been."""
    if verdict == "too few":
        return " No gain, however large, could have been shown."
    if verdict not in ("unclear", "unconfirmed"):
        return ""
    return (
        f" This test set shows a gain of {number(row.dice_detectable, 3)} with {float(row.power):.0%} power, at the level "
        "that the correction asks for."
    )


def answer(table: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """For each n_real a sentence on the real cases alone, and sentences on each system, about the largest region.

    `table` as of ``ratio_table``, numbers as numbers. The best mix is chosen on the very cases that judge it, which
    flatters it: the sentences say so where there was a choice.
    """
    groups = []
    region = table.region.iloc[0]
    rows = [(Arm.of_row(row), row) for _, row in table[table.region == region].iterrows()]
    for real_arm, real in ((arm, row) for arm, row in rows if arm.is_real_only):
        by = f" by {SEGMENTERS[real_arm.segmenter]}" * (table.segmenter.nunique() > 1)
        lead = (
            f"With {real_arm.n_real} real training patients and no synthetic case, mean Dice of the "
            f"{region_name(region)}{by} was {number(real.dice_mean, 3)} over {int(real.n_cases)} test cases "
            f"and {int(real.n_seeds)} seed{'s' * (int(real.n_seeds) != 1)}."
        )
        sentences = []
        beside = [(arm, row) for arm, row in rows if arm.reference == real_arm]
        ceiling = next((row for arm, row in beside if arm.control == CEILING), None)
        made = [(arm, row) for arm, row in beside if not arm.is_control]
        for system in sorted({arm.system for arm, _ in made} - {real_arm.system}):
            sentences += _of_system(system, [(arm, row) for arm, row in made if arm.system == system], ceiling)
        sentences += _of_controls([(arm, row) for arm, row in beside if arm.is_control])
        groups.append((lead, sentences))
    return groups


def _of_controls(rows: list[tuple[Arm, pd.Series]]) -> list[str]:
    return [
        f"Control, {label_of(arm).label}: mean Dice was {number(row.dice_mean, 3)}, {number(row.dice_difference, 3, True)} against "
        f"real only ({_interval(row)})" + ("; this difference is chance." if arm.control == OVERSAMPLED else ".")
        for arm, row in rows
    ]


def _of_system(system: str, rows: list[tuple[Arm, pd.Series]], ceiling: pd.Series | None) -> list[str]:
    sentences = []
    mixes = [(arm, row) for arm, row in rows if arm.is_mix]
    if mixes:
        arm, row = max(mixes, key=lambda pair: pair[1].dice_mean)
        several = "mixes" if len({arm.mixing for arm, _ in mixes}) > 1 else "ratios"
        lead = f"the best of {len(mixes)} {several} was" if len(mixes) > 1 else "the ratio tried was"
        sentences.append(
            f"{system}: {lead} {arm.ratio:g} synthetic cases for each real patient{_way(arm)}, mean Dice "
            f"{number(row.dice_mean, 3)}, a difference of {number(row.dice_difference, 3, True)} ({_interval(row)}). "
            + _WORDS[_verdict(row, ceiling)]
            + _detectable(row, _verdict(row, ceiling))
            + (" The ratio was picked on these same cases, which flatters it." if len(mixes) > 1 else "")
        )
    for arm, row in rows:
        if arm.synthetic_only:
            sentences.append(
                f"{system}: trained on synthetic cases alone ({arm.ratio:g} for each real patient of the generator), "
                f"mean Dice was {number(row.dice_mean, 3)}, {number(row.dice_difference, 3, True)} against real only "
                f"({_interval(row)})."
            )
    return sentences


_SHORT = {
    "no ceiling": "there is no verdict, since the ceiling is not above real only",
    "helped": "the interval lies above zero: synthetic cases helped",
    "harmed": "the interval lies below zero: even the best mix was worse than real cases alone",
    "unclear": "the interval holds zero: neither gain nor loss could be shown",
    "unconfirmed": "the interval leaves out zero, but the corrected test shows no difference",
    "too few": "there are too few test cases for a verdict: no gain, however large, could have been shown",
    "unmeasured": "there is no interval, and so no verdict",
}


def _can_answer(ceilings: dict[int, pd.Series], unknown: list[int], name: str) -> str:
    """Whether the study could have shown a gain at all: what its ceiling says; `unknown`: the n_real without one."""
    words = {}
    for n_real, row in ceilings.items():
        limited = is_limited(row, "dice_difference")
        seen = ""
        if not limited and not isinstance(row.dice_detectable, str):
            seen = f"; {number(row.dice_detectable, 3)} would have been seen with {float(row.power):.0%} power"
        change = f"{number(row.dice_difference, 3, True)} with {n_real} patients ({_interval(row)}{seen})"
        words.setdefault(limited, []).append(change)
    parts = []
    if True in words:
        parts.append(
            f"The study can show a gain: other real patients changed the Dice of the {name} by {'; '.join(words[True])}."
        )
    if False in words:
        lead = "It cannot answer everywhere" if parts else "This study cannot answer whether synthetic cases help"
        parts.append(
            f"{lead}: not even other real patients, the ceiling of any generator, were shown to help; they changed the Dice of "
            f"the {name} by {'; '.join(words[False])}. Fewer real patients, longer training or more test patients would tell."
        )
    if unknown:
        at = f"With {' and '.join(map(str, unknown))} patients" if parts else "In this study"
        parts.append(f"{at} there is no ceiling, so that whether a gain could be shown is not known.")
    return " ".join(parts)


def headline(table: pd.DataFrame) -> list[str]:
    """Four sentences about the largest region and the first segmenter, over all systems and every n_real.

    The first says whether the study could have shown a gain, by its ceiling, where there is one; there is no verdict of an
    n_real whose ceiling is not above real only. `table` as of ``ratio_table``, numbers as numbers. The best mix of each n_real is that of the highest mean Dice; it
    is chosen on the cases that judge it, and where there was a choice the last sentence says so.
    """
    region = table.region.iloc[0]
    name = region_name(region)
    segmenter = table.segmenter.iloc[0]
    by = f" by {SEGMENTERS[segmenter]}" * (table.segmenter.nunique() > 1)
    table = table[table.segmenter == segmenter]
    rows = [(Arm.of_row(row), row) for _, row in table[table.region == region].iterrows()]
    real = {arm.n_real: row for arm, row in rows if arm.is_real_only}
    first = next(iter(real.values()))
    reached = ", ".join(f"{number(row.dice_mean, 3)} with {n_real} patients" for n_real, row in real.items())
    tested = f"{count_of(int(first.n_cases), 'test case')} and {count_of(int(first.n_seeds), 'training seed')}"
    sentences = [
        f"Trained on real patients alone, the segmentation{by} reached a mean Dice of the {name} of {reached} ({tested})."
    ]

    ceilings = {arm.n_real: row for arm, row in rows if arm.control == CEILING}
    if early := sum(is_early(row.onset) for _, row in rows):
        sentences[-1] += (
            f" {early} of {len(rows)} arms had not got past their onset when training ended ({EARLY} in the tables): what they "
            "differ by is how fast they learned."
        )

    mixes = {n_real: [] for n_real in real}
    for arm, row in rows:
        if arm.is_mix:
            mixes[arm.n_real].append((arm, row))
    unknown = [n_real for n_real, found in mixes.items() if found and n_real not in ceilings]
    if said := _can_answer(ceilings, unknown, name):
        sentences.insert(0, said)
    best = {n_real: max(found, key=lambda pair: pair[1].dice_mean) for n_real, found in mixes.items() if found}
    if not best:
        return [*sentences, "No mix of real and synthetic cases was trained.", "So nothing was compared."]
    tried = max(len(found) for found in mixes.values())
    changes = "; ".join(
        f"{number(row.dice_difference, 3, True)} with {n_real} patients ({count_of(arm.ratio, 'synthetic case')} of "
        f"{arm.system} for each of them{_way(arm)}; {_interval(row)})"
        for n_real, (arm, row) in best.items()
    )
    lead = f"The best of {tried} mixes with synthetic cases" if tried > 1 else "The one mix with synthetic cases"
    lead += " at each number of patients" * (len(best) > 1)
    sentences.append(f"{lead} changed that by {changes}.")

    verdicts = {n_real: _verdict(row, ceilings.get(n_real)) for n_real, (_, row) in best.items()}
    if len(set(verdicts.values())) == 1:
        shown = _SHORT[next(iter(verdicts.values()))]
    else:
        sizes = {
            verdict: [str(n) for n, found in verdicts.items() if found == verdict] for verdict in verdicts.values()
        }
        shown = "; ".join(f"with {' and '.join(own)} patients {_SHORT[verdict]}" for verdict, own in sizes.items())
    picked = ""
    if tried > 1:
        picked = ", but that mix was picked on these same test cases, which flatters it"
        picked = picked if "helped" in verdicts.values() else picked.replace(", but", "; and")
    return [*sentences, f"{shown[0].upper()}{shown[1:]}{picked}."]
