"""Tables of control and masks as the programs write them: made up, but of the right form."""

import pandas as pd
from brats import CONDITIONS

from workflow_scripts.base.seeds import numpy_rng
from workflow_scripts.evaluation.mask_validity import VALIDITY


def control(count=10, noise=0.0, system="slice_ldm", n_real=20):
    """What evaluate_control writes of a generator that adds `noise` standard deviations to what is asked."""
    rows = []
    for number in range(count):
        rng = numpy_rng("request", number)
        row = {"n_real": n_real, "system": system, "case_id": f"P-{number}", "split": "test", "number": number}
        row |= {f"requested_{name}": float(rng.uniform(0.2, 0.9)) for name in CONDITIONS}
        off = numpy_rng("noise", number)
        row |= {f"measured_{name}": row[f"requested_{name}"] + noise * off.normal() for name in CONDITIONS}
        row |= {"out_of_range_note": "volume_ml, box_depth_mm" if number < 4 else ""}
        rows.append(row | dict(zip(VALIDITY, (0.0, 1.0, 1.0, 0.0, 0.0), strict=True)))
    return pd.DataFrame(rows)


def masks(system="slice_ldm", n_real=20, floor=0.2):
    """A masks.tsv of two features."""
    rows = []
    for comparison, distance in (("synthetic", 0.55), ("floor", floor)):
        for feature, test in (("volume_ml", "Kolmogorov-Smirnov"), ("all features", "energy distance, permutations")):
            rows.append({"comparison": comparison, "reference": "held-out", "feature": feature, "method": test,
                         "statistic": distance, "p": 0.0001, "n": 20, "n_reference": 10})  # fmt: skip
            if feature == "volume_ml":
                rows[-1] |= {"p_holm": 0.02, "mean": 30.0, "sd": 5.0, "reference_mean": 40.0, "reference_sd": 8.0}
    rows += [{"comparison": "ungated", "reference": "held-out", "feature": name, "method": "none", "mean": 0.25,
              "sd": 0.1, "reference_mean": 0.0, "reference_sd": 0.0, "n": 10, "n_reference": 10}
             for name in VALIDITY]  # fmt: skip
    return pd.DataFrame(rows).assign(n_real=n_real, system=system, permutations=1999)
