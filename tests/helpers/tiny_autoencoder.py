"""A small autoencoder's training, as its program is called."""

import json

import numpy as np
from subsets import subset_paths

from workflow_scripts.programs.autoencoder import train_autoencoder

CONFIG = {
    "name": "slice_vae",
    "kind": "slice_vae",
    "channels": [16, 24],
    "strides": [1, 2],
    "latent_channels": 4,
    "position": "fraction",
    "embedding_dim": 16,
    "empty_slices_kept": 0.1,
    "loss": {"l1": 1.0, "ssim": 1.0, "kl": 1e-6, "dice": 1.0, "bce": 1.0, "perceptual": 0.0},
    "training": {
        "steps": 60,
        "batch_size": 8,
        "learning_rate": 3e-3,
        "warmup_steps": 3,
        "decay": "cosine",
        "gradient_clip": 1.0,
        "ema_half_life_steps": 3,
        "precision": "32",
        "checkpoint_minutes": 0,
        "log_every_steps": 10,
    },
    "seed": 0,
    "regions": ["whole_tumor", "tumor_core", "enhancing_tumor"],
}


def arguments(cohort, out, changes=None, training=None, volumes=None) -> list[str]:
    config = CONFIG | {"training": CONFIG["training"] | (training or {})} | (changes or {})
    options = {
        "config": json.dumps(config),
        **subset_paths(cohort, "train", volumes=volumes),
        "threads": 1,
        "out": out / "autoencoder",
        "state": out / "state",
    }
    return [text for name, value in options.items() for text in (f"--{name}", str(value))]


def run(cohort, out, *args, **changes):
    train_autoencoder.main(arguments(cohort, out, *args, **changes))
    return out / "autoencoder"


def curve(folder) -> dict[str, np.ndarray]:
    names, *rows = (line.split(",") for line in (folder / "loss.csv").read_text().splitlines())
    return dict(zip(names, np.array(rows, dtype=float).T, strict=True))
