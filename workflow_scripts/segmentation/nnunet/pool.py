"""Preprocessing by nnU-Net's DefaultPreprocessor, in nnU-Net's own files."""

import hashlib
from pathlib import Path

import blosc2
import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

from ...base.errors import UserError
from ...base.files import atomic
from ..segmenter import Plan
from .library import POOL_SUFFIXES, NnunetPlan, nnunet_image, quiet


def preprocess(plan: NnunetPlan, image: np.ndarray, levels: np.ndarray | None, spacing_mm: list[float]) -> tuple:
    """nnU-Net's preprocessing (crop to the foreground, z-score, resample) of one volume.

    image : (M, D, H, W) in [-1, 1], background exactly -1
    levels : (D, H, W) in 0 ... R, or None for a case to predict
    spacing_mm : along depth, height, width

    Returns:
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


def save_case(plan: NnunetPlan, pool: Path, pool_id: str, data: np.ndarray, seg: np.ndarray, properties: dict) -> str:
    """Write a preprocessed case into the pool, each file whole or not at all; returns a digest of what it holds.

    As nnU-Net's ``nnUNetDatasetBlosc2.save_case``, but with one compression thread: with several, the order of the
    blocks in the file, and so its bytes, is left to chance. Of the properties what `PooledCases` reads is kept, the places of
    voxels: int32 (N, 5), number of the region or label, then channel and the axes of the plan.
    """
    data, seg = np.ascontiguousarray(data, dtype=np.float32), np.ascontiguousarray(seg, dtype=np.int16)
    image_file, seg_file, locations_file = (pool / f"{pool_id}{suffix}" for suffix in POOL_SUFFIXES)
    for file, array in ((image_file, data), (seg_file, seg)):
        blocks, chunks = comp_blosc2_params(array.shape, tuple(plan.configuration["patch_size"]), array.itemsize)
        settings = {"codec": blosc2.Codec.LZ4HC, "clevel": 5, "filters": [blosc2.Filter.SHUFFLE], "nthreads": 1}
        with atomic(file) as temporary:
            blosc2.asarray(array, urlpath=str(temporary), mode="w", chunks=chunks, blocks=blocks, cparams=settings)
    found = [np.reshape(places, (-1, 4)) for places in properties["class_locations"].values()]
    numbered = [np.insert(places, 0, number, axis=1) for number, places in enumerate(found)]
    with atomic(locations_file) as temporary, temporary.open("wb") as stream:
        np.save(stream, np.concatenate(numbered).astype(np.int32), allow_pickle=False)
    return hashlib.sha256(data.tobytes() + seg.tobytes()).hexdigest()[:16]


class PooledCases(nnUNetDatasetBlosc2):
    """nnU-Net's cases, read from the files of `save_case`: nothing is unpickled.

    classes : regions (tuples of labels) or labels, in the plan's order
    """

    def __init__(self, folder: str, identifiers: list[str], classes: list[tuple[int, ...] | int]):
        super().__init__(folder, identifiers)
        self.classes = classes

    def load_case(self, identifier: str) -> tuple:
        """As nnU-Net's: image, labels, None, {"class_locations": {region or label: (n, 4)}}. Raises UserError."""
        image, seg, locations = (Path(self.source_folder, f"{identifier}{suffix}") for suffix in POOL_SUFFIXES)
        opened = [blosc2.open(str(file), mode="r", dparams={"nthreads": 1}, mmap_mode="r") for file in (image, seg)]
        try:
            numbers = np.load(locations, allow_pickle=False)
            of_class = {one: numbers[numbers[:, 0] == number, 1:] for number, one in enumerate(self.classes)}
        except (OSError, ValueError, IndexError) as error:
            what = f"{locations} does not say where regions lie ({error})"
            raise UserError(f"{what}: run `snakemake -R pool_real pool_synthetic`") from None
        return *opened, None, {"class_locations": of_class}


def pool(plan: Plan, folder: Path, pool_id: str, image: np.ndarray, levels: np.ndarray, spacing_mm: list[float]) -> str:
    """Preprocess a case into the pool; see `segmentation.segmenter`. Levels that no region tells apart become one."""
    own, levels = NnunetPlan.of(plan), np.minimum(levels, len(plan.regions))
    return save_case(own, folder, pool_id, *preprocess(own, image, levels, spacing_mm))
