"""The contract of a small autoencoder, as its training writes it."""

from brats import WRITTEN

CONTRACT = {
    "kind": "autoencoder",
    "name": "tiny",
    "spec": {"kind": "slice_vae", "channels": [4, 4], "strides": [1, 2], "latent_channels": 2},
    "modalities": ["t1n"],
    "regions": ["whole_tumor"],
    "masks": ["whole_tumor"],
    "written": WRITTEN.model_dump(),
    "grid": {"size": [4, 8, 8], "spacing_mm": [1.0, 1.0, 1.0]},
    "value_range": [-1, 1],
    "latent_shape": [2, 4, 4, 4],
    "training_case_ids": ["Fälle-001"],
    "seed": 0,
    "config_digest": "a",
    "code_digest": "b",
}
