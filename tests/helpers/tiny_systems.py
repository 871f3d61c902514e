"""The six systems of config/systems/, small enough to train within seconds on a few simple heads.

As a program (``python tests/helpers/tiny_systems.py SYSTEM COHORT FOLDER SETTINGS``) it trains the generator of one system, for
tests that kill it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from brats import REGIONS, WRITTEN
from subsets import subset_paths
from tiny_generator import GRID, MODALITIES, VOXEL_ML, heads

from workflow_scripts.base.cli import run_program
from workflow_scripts.base.files import write_json, write_tsv
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.programs.autoencoder import extract_latents, train_autoencoder
from workflow_scripts.programs.generator import measure_tumours, train_generator
from workflow_scripts.study.generators import KINDS

TRAINING = {"steps": 400, "batch_size": 4, "learning_rate": 2e-3, "decay": "cosine", "ema_half_life_steps": 10,
            "log_every_steps": 5, "checkpoint_minutes": 0, "precision": "32", "gradient_clip": 1.0, "warmup_steps": 0, "weight_decay": 0.0}  # fmt: skip
LOSS = {"l1": 1.0, "ssim": 0.2, "kl": 1e-5, "dice": 1.0, "bce": 1.0}
SLICE_VAE = {
    "kind": "slice_vae", "channels": [16, 32, 32], "strides": [1, 2, 2], "latent_channels": 4, "embedding_dim": 16,
    "dropped_regions": 0.0,  # two cases are to be learned by heart
    "loss": LOSS, "training": TRAINING | {"steps": 250, "batch_size": 16, "learning_rate": 3e-3},
}  # fmt: skip
VAE_3D = {
    "kind": "vae_3d", "channels": [12, 24, 24], "strides": [1, 2, 2], "latent_channels": 4, "loss": LOSS,
    "patch_size": [8, 16, 16], "discriminator": {"channels": [8, 16], "weight": 0.01, "start_step": 100, "learning_rate": 1e-3},
    "training": TRAINING | {"steps": 250, "batch_size": 2, "learning_rate": 3e-3},
}  # fmt: skip
UNET = {"kind": "unet_3d", "channels": [16, 16, 32], "blocks_per_level": 1, "embedding_dim": 32}
DIFFUSION = {"timesteps": 200, "parameterization": "v", "training": TRAINING}
GAN = {
    "kind": "gan_3d", "z_dim": 16, "stem_channels": 16, "channels": [32, 24, 16], "discriminator_channels": [16, 32, 32],
    "embedding_dim": 16, "discriminator_learning_rate": 1e-3, "training": TRAINING | {"learning_rate": 1e-3},
}  # fmt: skip
SYSTEMS = {
    "slice_ldm": (SLICE_VAE, {"denoiser": UNET, "diffusion": DIFFUSION}),
    "slice_ldm_2d": (SLICE_VAE, {"denoiser": UNET | {"kind": "unet_2d_tiled"}, "diffusion": DIFFUSION}),
    "ldm_3d": (
        VAE_3D,
        {"denoiser": UNET | {"middle_attention": True, "channels": [16, 24, 48]}, "diffusion": DIFFUSION},
    ),
    "ldm_3d_reduced": (VAE_3D, {"denoiser": UNET | {"middle_attention": True}, "diffusion": DIFFUSION}),
    "ddpm_3d": (
        None,
        {
            "denoiser": UNET | {"middle_attention": True, "checkpointing": True, "channels": [16, 16, 32, 32]},
            "diffusion": DIFFUSION | {"parameterization": "x0"},
        },
    ),
    "lsgan_3d": (None, {"kind": "gan", "gan": GAN}),
}
"""System -> (autoencoder block or None, blocks of the generator)."""


def make_cohort(folder: Path, count: int = 2) -> Path:
    """Preprocessed volumes of `count` heads, all of them for training; one more for validation."""
    store, case_ids = VolumeStore(folder / "volumes"), []
    affine = np.diag([*GRID["spacing_mm"][::-1], 1.0]).tolist()
    for index, (image, levels) in enumerate(heads(count + 1)):
        case_ids.append(f"head-{index:05d}-000")
        meta = {"case_id": case_ids[-1], "patient_id": f"head-{index:05d}", "modalities": MODALITIES, **GRID}
        meta |= {
            "regions": list(REGIONS),
            "written": WRITTEN.model_dump(),
            "affine": affine,
            "foreground_volume_ml": float((image[0] > -1).sum() * VOXEL_ML),
        }
        store.save(case_ids[-1], image, levels, meta)
    write_tsv(folder / "cases.tsv", pd.DataFrame({"case_id": case_ids}))
    splits = {"seed": 0, "train": {str(count): case_ids[:-1]}, "val": case_ids[-1:], "test": []}
    write_json(folder / "splits.json", splits)
    return folder


def run_stage(program, config: dict, cohort: Path, *subsets: str, **options) -> None:
    """Run a program on subsets of the cohort."""
    arguments = {"config": json.dumps(config), "threads": 1, **options, **subset_paths(cohort, *subsets)}
    program.main([text for name, value in arguments.items() for text in (f"--{name}", str(value))])


def measure(cohort: Path) -> None:
    """Features of the tumours."""
    run_stage(measure_tumours, {"regions": list(REGIONS)}, cohort, "train", out=cohort / "conditions.tsv")


def prepare(cohort: Path, kind: str, training: dict | None = None) -> None:
    """Features of the tumours, and the autoencoder `kind` with its latents, in folders of the cohort."""
    measure(cohort)
    block = {"slice_vae": SLICE_VAE, "vae_3d": VAE_3D}[kind]
    config = (
        {"name": kind, "seed": 0, "regions": list(REGIONS)} | block | {"training": block["training"] | (training or {})}
    )
    paths = {"out": cohort / kind / "autoencoder", "state": cohort / "state"}
    run_stage(train_autoencoder, config, cohort, "train", **paths)
    paths = {"autoencoder": paths["out"], "out": cohort / kind / "latents"}
    run_stage(extract_latents, {}, cohort, "train", **paths)


def train(system: str, cohort: Path, folder: Path, **training) -> Path:
    """Run the program train_generator; the trained model is in folder/model."""
    autoencoder, blocks = SYSTEMS[system]
    family = KINDS[blocks.get("kind", "diffusion")].trained_by
    blocks = blocks | {family: blocks[family] | {"training": blocks[family]["training"] | training}}
    space = {}
    if autoencoder:
        space = {kind: cohort / autoencoder["kind"] / kind for kind in ("autoencoder", "latents")}
    paths = {"conditions": cohort / "conditions.tsv", "out": folder / "model", "state": folder / "state"}
    run_stage(
        train_generator,
        {"system": system, "regions": list(REGIONS), "seed": 3, **blocks},
        cohort,
        *([] if autoencoder else ["train"]),
        **space,
        **paths,
    )
    return folder / "model"


if __name__ == "__main__":
    run_program(lambda: train(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), **json.loads(sys.argv[4])))
