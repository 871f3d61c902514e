"""Files of a small study, as the segmentation arms leave them: made up, but of the right form."""

import numpy as np

from workflow_scripts.base.files import write_tsv
from workflow_scripts.base.seeds import numpy_rng

REGIONS = ("whole_tumor", "tumor_core", "enhancing_tumor")
MIXES = (("none", 0.0, False), ("slice_ldm", 1.0, False), ("slice_ldm", 2.0, False), ("slice_ldm", 1.0, True))


def study(folder, n_real=(20,), mixes=MIXES, seeds=(0, 1), cases=8, gain=0.02, regions=REGIONS):
    """Write a dice.tsv an arm and seed; a mix gains `gain` Dice a ratio, synthetic only loses 0.2. Returns the paths."""
    import pandas as pd

    paths = []
    for size in n_real:
        for system, ratio, only in mixes:
            for seed in seeds:
                rows = []
                for case in range(cases):
                    for index, region in enumerate(regions):
                        base = 0.85 - 0.1 * index + numpy_rng("case", case, region).normal(0, 0.06)
                        noise = numpy_rng("arm", size, system, str(ratio), only, seed, case, region).normal(0, 0.01)
                        dice = float(np.clip(base + gain * ratio - 0.2 * only + noise, 0, 1))
                        rows.append(
                            {
                                "n_real": size,
                                "system": system,
                                "ratio": ratio,
                                "synthetic_only": only,
                                "seed": seed,
                                "case_id": f"BraTS-GLI-{case:05d}-000",
                                "region": region,
                                "dice": dice,
                                "hd95_mm": 20.0 * (1 - dice),
                                "reference_ml": 30.0 / (index + 1),
                                "predicted_ml": 28.0 / (index + 1),
                            }
                        )
                kind = "synthetic_only" if only else f"ratio~{ratio:g}"
                paths.append(folder / f"n_real~{size}" / system / kind / f"seed~{seed}" / "dice.tsv")
                write_tsv(paths[-1], pd.DataFrame(rows))
    return [str(path) for path in paths]
