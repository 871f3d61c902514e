"""Cases as segmenters are given them, checked, and how the pool is filled with them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from ..base.errors import BadCase, UserError
from ..base.progress import track
from ..cohort.volumes import VolumeStore
from .segmenter import Plan, files_digest, stage


def check_arrays(case_id: str, file: str, image: np.ndarray, levels: np.ndarray | None, modalities: list[str]) -> None:
    """Raise BadCase unless image (M, D, H, W) and levels (D, H, W; None: not looked at) hold `modalities`, one grid,
    and a foreground."""
    reason = ""
    if image.shape[0] != len(modalities):
        reason = f"holds {image.shape[0]} modalities, not {len(modalities)} ({', '.join(modalities)})"
    elif levels is not None and image.shape[1:] != levels.shape:
        reason = f"the image's grid {image.shape[1:]} differs from its mask's {levels.shape}"
    elif not (np.asarray(image) > -1).any():
        reason = "the image is background alone"
    if reason:
        raise BadCase(case_id, file, reason, "Make it again with the stage that wrote it (`snakemake -R <stage>`)")


def checked_image(store: VolumeStore, case_id: str, modalities: list[str]) -> tuple[np.ndarray, dict]:
    """A case's image (M, D, H, W) in [-1, 1] and sidecar. Raises BadCase if it does not fit. Reads no mask."""
    image, meta = store.image(case_id), store.meta(case_id)
    if list(meta["modalities"]) != list(modalities):
        reason = f"holds the modalities {', '.join(meta['modalities'])}, not {', '.join(modalities)}"
        raise BadCase(case_id, f"{case_id}.json", reason, "Preprocess it again: `snakemake -R preprocess`")
    check_arrays(case_id, f"{case_id}.image.npy", image, None, modalities)
    return image, meta


def checked_volume(store: VolumeStore, case_id: str, modalities: list[str]) -> tuple[np.ndarray, np.ndarray, dict]:
    """As `checked_image`, with the case's levels (D, H, W) in between."""
    image, meta = checked_image(store, case_id, modalities)
    levels = store.levels(case_id)
    check_arrays(case_id, f"{case_id}.levels.npy", image, levels, modalities)
    return image, levels, meta


def fill_pool(
    plan: Plan,
    pool: Path,
    read: dict[str, Callable[[], tuple[np.ndarray, np.ndarray, list[float]]]],
    threads: int,
    title: str,
) -> pd.DataFrame:
    """Preprocess and save cases, `threads` at once; returns a row each: case_id (in the pool), digest, files_digest.

    `read` gives, for each pool id, a function that reads image (M, D, H, W), levels (D, H, W) and spacing in mm.
    """

    def fill(pool_id: str) -> tuple[str, str, str]:
        if Path(pool_id).name != pool_id or pool_id.startswith("."):
            raise UserError(f"case id {pool_id!r} cannot name a file: rename the case")
        image, levels, spacing_mm = read[pool_id]()
        digest = preprocess(plan, pool, pool_id, image, levels, spacing_mm)
        return pool_id, digest, files_digest(plan.segmenter, pool, pool_id)

    preprocess = stage(plan.segmenter, "pool")
    pool.mkdir(parents=True, exist_ok=True)
    rows = []
    with ThreadPoolExecutor(max(1, threads)) as workers, track(len(read), title, "case") as bar:
        for row in workers.map(fill, read):
            rows.append(row)
            bar.update()
    return pd.DataFrame(rows, columns=["case_id", "digest", "files_digest"])
