"""What is odd about a cohort as a whole, said once."""

import pandas as pd

from ..base.errors import UserError
from ..study.dataset import Dataset


def check_labels(cases: pd.DataFrame, dataset: Dataset, asked: str) -> list[str]:
    """Sentences on the labels and regions of a cohort.

    cases : rows with layout, labels ("1:200 2:31": voxels of each label) and the regions' volumes
    asked : the layout that the user named, or "auto"

    Raises UserError where the labels of a layout's cases speak for another layout, and the user has named none.
    """
    remarks = list(dataset.remarks)
    for name, own in cases.groupby("layout"):
        layout, found = dataset.layouts[name], {int(item.split(":")[0]) for row in own.labels for item in row.split()}
        if layout.unsure and asked == "auto":
            present, absent = set(layout.unsure.present), set(layout.unsure.absent)
            if present <= found and not absent & found:
                raise UserError(_unsure(own, dataset, str(name), present, absent))
    for region in dataset.regions:
        if len(cases) > 1 and not (cases[f"{region}_ml"] > 0).any():
            read = "; ".join(f"{name}: {dataset.meaning_of(name)}" for name in sorted(set(cases.layout)))
            remarks.append(f"{region} is empty in each of the {len(cases)} cases: check how labels are read ({read})")
    return remarks


def _unsure(cases: pd.DataFrame, dataset: Dataset, name: str, present: set[int], absent: set[int]) -> str:
    have = (
        f"have label {_listed(present)}, and none has {_listed(absent)}" if present else f"lack label {_listed(absent)}"
    )
    other = dataset.layouts[name].unsure.instead
    return (
        f"the masks of the {len(cases)} cases named as {name} {have} (for example {cases.seg_path.iloc[0]}), so what labels "
        f"mean is not sure. In {name} {dataset.meaning_of(name)}; in {other} {dataset.meaning_of(other)}. Write one of\n"
        f"    layout: {name}\n    layout: {other}"
    )


def _listed(labels: set[int]) -> str:
    return ", ".join(map(str, sorted(labels)))
