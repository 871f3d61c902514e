"""Small valid cases on disk, in every layout: a smooth ellipsoid brain with a nested tumour. Material for tests."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
from brats import ALL_PARTS, MODALITIES
from scipy import ndimage

from workflow_scripts.cohort.nifti import write_nifti
from workflow_scripts.programs.cohort import find_cases, merge_cohort, preprocess

SUFFIX = {"t1n": "t1", "t1c": "t1ce", "t2w": "t2", "t2f": "flair", "seg": "seg"}
LABELS = {"brats2018": (2, 1, 4), "brats2021": (2, 1, 4), "brats2023": (2, 1, 3), "decathlon": (1, 2, 3)}
SHAPE = (32, 32, 16)  # X, Y, Z
SPACING_MM = (6.0, 6.0, 8.0)
CONTRAST = {"t1n": (600, -150, -250, -200), "t1c": (620, -140, -260, 350), "t2w": (400, 250, 380, 200), "t2f": (450, 350, 150, 300)}  # fmt: skip


def lps_affine(shape=SHAPE, spacing_mm=SPACING_MM) -> np.ndarray:
    """Voxel (x, y, z) to RAS mm of a grid stored right to left and front to back, as BraTS stores its cases."""
    affine = np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])
    affine[1, 3] = (shape[1] - 1) * spacing_mm[1]
    return affine


def anatomy(shape=SHAPE, spacing_mm=SPACING_MM, seed: int = 0, centre=None) -> tuple[dict, np.ndarray]:
    """Images {modality: int16 (X, Y, Z)} and levels uint8 (X, Y, Z). `centre`: of the tumour, mm from the grid's."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(
        *[(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, spacing_mm, strict=True)], indexing="ij"
    )
    half = np.array(shape) * spacing_mm / 2
    brain = (x / (0.70 * half[0])) ** 2 + (y / (0.85 * half[1])) ** 2 + (z / (0.85 * half[2])) ** 2 < 1
    if centre is None:
        side = rng.choice([-1, 1])
        centre = (
            side * rng.uniform(0.2, 0.3) * half[0],
            rng.uniform(-0.3, 0.3) * half[1],
            rng.uniform(-0.1, 0.1) * half[2],
        )
    radius = rng.uniform(0.28, 0.36) * half.min()
    distance = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + ((z - centre[2]) * 0.8) ** 2) / radius
    levels = ((distance < 1.35).astype(np.uint8) + (distance < 0.9) + ((distance < 0.9) & (distance > 0.45))) * brain
    texture = ndimage.gaussian_filter(rng.standard_normal(shape), 1.5, mode="nearest")
    texture *= 120 / texture.std()
    images = {}
    for name in MODALITIES:
        tissue, *change = CONTRAST[name]
        image = tissue + texture * (1 if name.startswith("t1") else -0.7) + np.array([0, *change])[levels]
        image += 15 * rng.standard_normal(shape)
        images[name] = np.where(brain, np.clip(np.rint(image), 1, None), 0).astype(np.int16)
    return images, levels


def make_case(
    root, case_id, layout="brats2023", shape=SHAPE, spacing_mm=SPACING_MM, affine=None, seed=0, modalities=MODALITIES, **anatomy_args
) -> dict[str, Path]:  # fmt: skip
    """Write one valid case below `root` in a layout; the files it wrote, by modality and "seg".

    Another `seed` is another patient. `affine` replaces that of BraTS (RAS mm from voxel (x, y, z)).
    """
    images, levels = anatomy(shape, spacing_mm, seed, **anatomy_args)
    affine = lps_affine(shape, spacing_mm) if affine is None else affine
    labels = np.array([0, *LABELS[layout]], dtype=np.uint8)[levels]
    root = Path(root)
    if layout == "decathlon":
        paths = {"image": root / "imagesTr" / f"{case_id}.nii.gz", "seg": root / "labelsTr" / f"{case_id}.nii.gz"}
        order = ("t2f", "t1n", "t1c", "t2w")
        write_nifti(paths["image"], np.stack([images[name] for name in order], axis=-1), affine)
        write_nifti(paths["seg"], labels, affine)
        return {**dict.fromkeys(modalities, paths["image"]), "seg": paths["seg"]}
    folder = root / ("HGG" if layout == "brats2018" else "") / case_id
    paths = {}
    for name in (*modalities, "seg"):
        stem = f"{case_id}-{name}" if layout == "brats2023" else f"{case_id}_{SUFFIX[name]}"
        paths[name] = folder / f"{stem}.nii.gz"
        write_nifti(paths[name], labels if name == "seg" else images[name], affine)
    return paths


def rewrite(path: Path, change, affine=None, dtype=None) -> None:
    """Replace the voxels of a NIfTI file by change(voxels), and its affine if one is given."""
    image = nibabel.load(path)
    data = change(np.asarray(image.dataobj).copy())
    path.unlink()
    nibabel.save(
        nibabel.Nifti1Image(data.astype(dtype or data.dtype), image.affine if affine is None else affine), path
    )


def in_two(levels: np.ndarray) -> np.ndarray:
    """A mask whose one tumour is cut through its middle, across the last axis, into two pieces that do not touch."""
    middle = np.flatnonzero(levels.any(axis=(0, 1)))
    levels = levels.copy()
    levels[..., int(np.median(middle))] = 0
    return levels


def prepare(data_root, out, config: dict | None = None, shards: int = 2, movable: bool = False) -> Path:
    """Run find_cases, preprocess (in `shards`) and merge_cohort; `out` then holds volumes/, cases.tsv, rejected.tsv.

    `movable`: the cases move with `out`, as simulated ones do with their run.
    """
    out = Path(out)
    own = dict(config or {})
    dataset = dict(ALL_PARTS)
    if "intensity" in own:
        dataset["intensity"] = own.pop("intensity")
    settings = {
        "dataset": dataset,
        "modalities": list(MODALITIES),
        "layout": "auto",
        "on_bad_case": "reject",
        "spacing_mm": [8.0, 6.0, 6.0],
        "size": [16, 32, 32],
        **own,
    }
    table = ["--patients", str(settings.pop("patients"))] if "patients" in settings else []
    table += ["--movable"] * movable
    joining = {key: settings[key] for key in ("dataset", "layout", "on_bad_case")} | {"patients": "--patients" in table}
    merging = ["--config", json.dumps(joining)]
    finding, gridding = (
        ["--config", json.dumps({key: value for key, value in settings.items() if key not in left_out})]
        for left_out in (("spacing_mm", "size"), ("layout",))
    )
    found, refused = str(out / "found.tsv"), str(out / "found_rejected.tsv")
    find_cases.main([*finding, *table, "--data-root", str(data_root), "--out", found, "--rejected", refused])
    tables, rejected = [], [refused]
    for shard in range(shards):
        tables.append(str(out / "shards" / f"{shard}.tsv"))
        rejected.append(str(out / "shards" / f"{shard}.rejected.tsv"))
        where = ["--found", found, "--volumes", str(out / "volumes"), "--out", tables[-1], "--rejected", rejected[-1]]
        preprocess.main([*gridding, *where, "--shard", str(shard), "--shards", str(shards)])
    results = ["--cases", str(out / "cases.tsv"), "--rejected", str(out / "rejected.tsv")]
    results += ["--remarks", str(out / "remarks.tsv")]
    merge_cohort.main([*merging, "--shards", *tables, "--rejected-shards", *rejected, *results])
    return out
