"""The pool: every case preprocessed once by nnU-Net's DefaultPreprocessor, in nnU-Net's own files.

A pool folder holds ``<id>.b2nd`` (image), ``<id>_seg.b2nd`` (labels) and ``<id>.pkl`` (properties), nothing else. An arm
is a list of ids in it. A synthetic case's id is ``<system>_<case_id>``, so systems share the pool.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..base.errors import UserError
from ..base.files import atomic
from ..base.progress import track
from .nnunet import Plan, nnunet_image, quiet


def pool_files(pool: Path, pool_id: str) -> list[Path]:
    """The three files of a case: image, labels, properties."""
    return [pool / f"{pool_id}{suffix}" for suffix in (".b2nd", "_seg.b2nd", ".pkl")]


def preprocess(plan: Plan, image: np.ndarray, levels: np.ndarray | None, spacing_mm: list[float]) -> tuple:
    """nnU-Net's preprocessing (crop to the foreground, z-score, resample) of one volume.

    Parameters
    ----------
    image : (M, D, H, W) in [-1, 1], background exactly -1
    levels : (D, H, W) in 0..3, or None for a case to predict
    spacing_mm : along depth, height, width

    Returns
    -------
    data : (M, D', H', W') float32, along the plan's axes
    seg : (1, D', H', W') int8; -1 outside the foreground
    properties : dict, what undoing the crop needs, and where each region's voxels are
    """
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    plans, configuration, _ = plan.managers()
    seg = None if levels is None else levels[None].astype(np.int8)  # signed: nnU-Net writes -1 into it
    properties = {"spacing": [float(edge) for edge in spacing_mm]}
    with quiet():
        return DefaultPreprocessor(verbose=False).run_case_npy(
            nnunet_image(image), seg, properties, plans, configuration, plan.dataset
        )


def save_case(plan: Plan, pool: Path, pool_id: str, data: np.ndarray, seg: np.ndarray, properties: dict) -> str:
    """Write a preprocessed case into the pool, each file whole or not at all; returns a digest of what it holds.

    As nnU-Net's ``nnUNetDatasetBlosc2.save_case``, but with one compression thread: with several, the order of the
    blocks in the file, and so its bytes, is left to chance.
    """
    import blosc2
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params

    data, seg = np.ascontiguousarray(data, dtype=np.float32), np.ascontiguousarray(seg, dtype=np.int16)
    image_file, seg_file, properties_file = pool_files(pool, pool_id)
    for file, array in ((image_file, data), (seg_file, seg)):
        blocks, chunks = comp_blosc2_params(array.shape, tuple(plan.configuration["patch_size"]), array.itemsize)
        settings = {"codec": blosc2.Codec.LZ4HC, "clevel": 5, "filters": [blosc2.Filter.SHUFFLE], "nthreads": 1}
        with atomic(file) as temporary:
            blosc2.asarray(array, urlpath=str(temporary), mode="w", chunks=chunks, blocks=blocks, cparams=settings)
    with atomic(properties_file) as temporary:
        temporary.write_bytes(pickle.dumps(properties, protocol=4))
    return hashlib.sha256(data.tobytes() + seg.tobytes()).hexdigest()[:16]


def fill_pool(
    plan: Plan,
    pool: Path,
    read: dict[str, Callable[[], tuple[np.ndarray, np.ndarray, list[float]]]],
    threads: int,
    title: str,
) -> dict[str, str]:
    """Preprocess and save cases, `threads` at once; returns {pool id: digest}.

    `read` gives, for each pool id, a function that reads image (M, D, H, W), levels (D, H, W) and spacing in mm.
    """

    def fill(pool_id: str) -> str:
        if Path(pool_id).name != pool_id or pool_id.startswith("."):
            raise UserError(f"case id {pool_id!r} cannot name a file: rename the case")
        image, levels, spacing_mm = read[pool_id]()
        return save_case(plan, pool, pool_id, *preprocess(plan, image, levels, spacing_mm))

    pool.mkdir(parents=True, exist_ok=True)
    digests = {}
    with ThreadPoolExecutor(max(1, threads)) as workers, track(len(read), title, "case") as bar:
        for pool_id, digest in zip(read, workers.map(fill, read), strict=True):
            digests[pool_id] = digest
            bar.update()
    return digests
