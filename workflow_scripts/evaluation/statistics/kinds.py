"""The ladder by kind of tumour: what an arm gains in test cases with a region, and in those without it.

A tumour without an enhancing part is another kind than one that has it. What no training case shows, no generator has
learned, and no mix of training tumours holds; other real patients bring it. A mean over all test cases hides the two.
"""

from collections.abc import Mapping

import pandas as pd

from ...study.conditions import FRACTION
from ..scores import regions_of
from .ladder import ladder_table

WITH, WITHOUT = "with", "without"


def kinds_table(scores: pd.DataFrame, train: Mapping[int, pd.DataFrame], **settings) -> pd.DataFrame:
    """One row per region that some test cases lack and others have, kind, n_real, scored region and rung.

    train : n_real -> conditions of its training tumours, with the share of each region within the outermost, ``<region>_fraction``
    settings : of `ladder_table`, of whose columns a row has all, beside ``kind_of`` (the region), ``kind`` ("with" or
        "without"), ``kind_train_cases`` of ``train_cases``, and ``kind_test_cases`` of ``test_cases``

    No row where all test cases have the same regions.
    """
    scores, parts = scores[scores.n_real.isin(train)], []
    for region in regions_of(scores)[1:]:
        of_region = scores[scores.region == region].drop_duplicates("case_id")
        tested = {WITHOUT: of_region.case_id[of_region.reference_ml == 0]}
        tested[WITH] = of_region.case_id[of_region.reference_ml > 0]
        if tested[WITHOUT].empty:
            continue
        for kind, kept in tested.items():
            table = ladder_table(scores[scores.case_id.isin(kept)], **settings)
            shown = {
                n_real: int(((tumours[f"{region}{FRACTION}"] > 0) == (kind == WITH)).sum())
                for n_real, tumours in train.items()
            }
            counts = {
                "kind_train_cases": table.n_real.map(shown),
                "train_cases": table.n_real.map({n_real: len(tumours) for n_real, tumours in train.items()}),
                "kind_test_cases": len(kept),
                "test_cases": len(of_region),
            }
            parts.append(pd.DataFrame({"kind_of": region, "kind": kind, **counts}, index=table.index).join(table))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["kind_of", "kind", "n_real"])
