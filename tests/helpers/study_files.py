"""Files of a small study, as the segmentation arms leave them: made up, but of the right form."""

import json

import numpy as np
from brats import LOOKS

from workflow_scripts.base.files import write_tsv
from workflow_scripts.base.seeds import numpy_rng
from workflow_scripts.programs.reporting import make_table as program

REGIONS = ("whole_tumor", "tumor_core", "enhancing_tumor")
INTERVALS = {"bootstrap_samples": 2000, "confidence": 0.95, "power": 0.8, "seed": 0}
MIXES = (("none", 0.0, False), ("slice_ldm", 1.0, False), ("slice_ldm", 2.0, False), ("slice_ldm", 1.0, True))
CONTROLS = (("none", 0.0, False, "no_augmentation"), ("none", 1.0, False, "oversampled"))


def study(
    folder,
    n_real=(20,),
    mixes=MIXES,
    seeds=(0, 1),
    cases=8,
    gain=0.02,
    regions=REGIONS,
    time_points=1,
    segmenter="nnunet",
    onset="past",
):
    """Write a dice.tsv an arm and seed. Returns the paths.

    A mix gains `gain` Dice a ratio, synthetic only loses 0.2, the control without augmentation loses 0.1.

    Each patient has `time_points` cases in a row; every case has two lesions, one small, which is hit in even cases.
    """
    import pandas as pd

    paths = []
    for size in n_real:
        for system, ratio, only, *rest in mixes:
            control, mixing = (*rest, *("none", "replace")[len(rest) :])
            loss = 0.1 * (control == "no_augmentation")
            for seed in seeds:
                rows = []
                for case in range(cases):
                    for index, region in enumerate(regions):
                        base = 0.85 - 0.1 * index + numpy_rng("case", case, region).normal(0, 0.06)
                        noise = numpy_rng("arm", size, system, str(ratio), only, control, seed, case, region).normal(
                            0, 0.01
                        )
                        dice = float(
                            np.clip(base + gain * ratio * (system != "none") - 0.2 * only + noise - loss, 0, 1)
                        )
                        rows.append(
                            {
                                "n_real": size,
                                "system": system,
                                "ratio": ratio,
                                "synthetic_only": only,
                                "control": control,
                                "mixing": mixing,
                                "segmenter": segmenter,
                                "seed": seed,
                                "case_id": f"BraTS-GLI-{case:05d}-000",
                                "patient_id": f"BraTS-GLI-{case // time_points:05d}",
                                "region": region,
                                "dice": dice,
                                "hd95_mm": 20.0 * (1 - dice),
                                "reference_ml": 30.0 / (index + 1),
                                "predicted_ml": 28.0 / (index + 1),
                                **{"lesion_dice": dice / 2, "lesion_hd95_mm": 187.0, "lesions": 2},
                                "onset": onset,
                                **{"lesions_missed": case % 2, "lesions_false": 1, "small_lesions": 1},
                                **{"small_lesions_hit": 1 - case % 2, "lesion_dilation_voxels": 3},
                                **{"lesion_min_mm3": 50.0, "small_lesion_ml": 1.0},
                            }
                        )
                kind = control if control != "none" else "synthetic_only" if only else f"ratio~{ratio:g}"
                kind += "" if mixing == "replace" else f"_{mixing}"
                paths.append(folder / f"n_real~{size}" / system / kind / f"seed~{seed}" / "dice.tsv")
                write_tsv(paths[-1], pd.DataFrame(rows))
    return [str(path) for path in paths]


def make_table(folder, files, *options, **config):
    """ratio.csv of the study, with ratio.md and ratio.tex, through the program."""
    import pandas as pd

    intervals = INTERVALS | {"bootstrap_samples": 500} | config
    write_table("augmentation_ratio", folder / "ratio.csv", *options, settings={"tables": intervals}, scores=files)
    return pd.read_csv(folder / "ratio.csv")


def write_table(name, out, *options, settings=None, **files):
    """Any table of a study, through the program: `out` (.csv), with .md and .tex beside it."""
    if settings is None:
        settings = {"tables": INTERVALS, "confidence": INTERVALS["confidence"]}
    words = [word for option, paths in files.items() for word in (f"--{option}", *map(str, paths))]
    program.main(
        ["--table", name, "--config", json.dumps({**settings, "looks": LOOKS}), *options, *words, "--out", str(out)]
    )


def row_of(table, region, arm):
    """The one row of a region and arm."""
    found = table[(table.region == region) & (table.arm == arm)]
    assert len(found) == 1
    return found.iloc[0]
