"""Six simple heads, an autoencoder that knows them, and a generator trained on its latents, all within seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from brats import CONDITIONS, REGIONS, WRITTEN
from safetensors.torch import save_file

from workflow_scripts.base.files import read_json, write_json, write_tsv
from workflow_scripts.cohort.regions import levels_to_channels
from workflow_scripts.cohort.tumours import measure
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.models.build_autoencoder import build_autoencoder
from workflow_scripts.programs.generator import train_generator
from workflow_scripts.training.model_files import contract_digest, save_model

GRID = {"size": [12, 16, 16], "spacing_mm": [10.0, 8.0, 8.0]}
MODALITIES = ["t1c", "t2f"]
SPEC = {"kind": "slice_vae", "channels": [16, 32, 32], "strides": [1, 2, 2], "latent_channels": 3, "embedding_dim": 16}
TRAINING = {"steps": 300, "batch_size": 6, "learning_rate": 2e-3, "decay": "cosine", "ema_half_life_steps": 20,
            "log_every_steps": 5, "checkpoint_minutes": 0, "precision": "32", "warmup_steps": 0, "gradient_clip": None, "weight_decay": 0.0}  # fmt: skip
SYNTHESIS = {"precision": "32", "gate": {"foreground_volume_tolerance": 0.4, "feature_tolerance": 3}, "max_redraws": 20}
OPEN_GATE = {"min_volume_ml": 0, "max_outside_foreground_fraction": 1, "min_largest_component_fraction": 0}
OPEN_GATE |= {"feature_tolerance": 1000, "foreground_volume_tolerance": 1000}
CONFIG = {
    "system": "tiny",
    "regions": list(REGIONS),
    "denoiser": {"kind": "unet_3d", "channels": [16, 16, 32], "blocks_per_level": 1, "embedding_dim": 32},
    "diffusion": {"timesteps": 200, "parameterization": "v", "training": TRAINING},
    "seed": 3,
}
VOXEL_ML = 0.64


def ball(centre, radius) -> np.ndarray:
    """Boolean (D, H, W) of GRID; centre and radius in mm from the corner."""
    axes = [(np.arange(n) + 0.5) * mm for n, mm in zip(GRID["size"], GRID["spacing_mm"], strict=True)]
    place = np.stack(np.meshgrid(*axes, indexing="ij"))
    return ((place - np.array(centre)[:, None, None, None]) ** 2).sum(axis=0) <= radius**2


def heads(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Image (M, D, H, W) and levels (D, H, W) of each patient: a round brain with a round tumour of its own."""
    made = []
    for index in range(count):
        centre = (60 + 8 * (index // 3 % 2), 64 + 6 * (index % 3 - 1), 46 + 36 * (index % 2))
        radius = 20 + 2 * (index % 4)
        levels = sum(ball(centre, radius * share).astype(np.uint8) for share in (1.0, 0.85, 0.65))
        image = np.full((2, *GRID["size"]), -1.0, np.float32)
        image[:, ball((60, 64, 64), 54)] = -0.2
        image[0][levels == 3] = 0.8
        image[1][levels >= 1] = 0.6
        made.append((image, levels))
    return made


def make_inputs(folder: Path, count: int = 6, steps: int = 200) -> Path:
    """folder/autoencoder and folder/latents, as train_autoencoder and extract_latents leave them."""
    cases = heads(count)
    case_ids = [f"head-{index:05d}-000" for index in range(count)]
    images = torch.stack([torch.from_numpy(image) for image, _ in cases])
    masks = torch.stack([levels_to_channels(torch.from_numpy(levels), REGIONS).float() for _, levels in cases])
    x = torch.cat([images, masks * 2 - 1], dim=1)  # (n, M + R, D, H, W)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_autoencoder(SPEC, len(MODALITIES), len(REGIONS), GRID)
        slices = x.transpose(1, 2).flatten(0, 1)  # (n D, M + R, H, W)
        position = network.positions(GRID["size"][0]).repeat(count)
        optimizer = torch.optim.Adam(network.parameters(), 3e-3)
        for step in range(steps):
            chosen = torch.randint(len(slices), (24,), generator=torch.Generator().manual_seed(step))
            noise = torch.randn(24, 3, 4, 4)
            out, mean, log_variance = network(slices[chosen], position[chosen], noise)
            image, logits = out.split([2, 3], dim=1)
            loss = (image - slices[chosen][:, :2]).abs().mean()
            loss += torch.nn.functional.binary_cross_entropy_with_logits(logits, (slices[chosen][:, 2:] > 0).float())
            loss += 1e-4 * (mean**2 + log_variance.exp() - log_variance).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    latents = network.encode_volumes(x, 32)
    contract = {"kind": "autoencoder", "name": "tiny", "spec": SPEC, "modalities": MODALITIES, "grid": GRID}
    contract["written"] = WRITTEN.model_dump()
    contract |= {
        "regions": list(REGIONS),
        "masks": list(REGIONS),
        "value_range": [-1, 1],
        "latent_shape": list(latents.shape[1:]),
    }
    contract |= {"training_case_ids": case_ids, "seed": 0, "config_digest": "0", "code_digest": "0"}
    save_model(folder / "autoencoder", network.state_dict(), contract)
    write_latents(folder / "latents", folder / "autoencoder", dict(zip(case_ids, latents, strict=True)), cases)
    return folder


def write_latents(folder: Path, autoencoder: Path, latents: dict[str, torch.Tensor], cases: list) -> None:
    """What extract_latents and measure_tumours write."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({case_id: latent.contiguous() for case_id, latent in latents.items()}, folder / "latents.safetensors")
    stacked = torch.stack(list(latents.values()))
    scale = {"mean": stacked.mean(dim=(0, 2, 3, 4)).tolist(), "std": stacked.std(dim=(0, 2, 3, 4)).tolist()}
    write_json(folder / "latents.json", {"autoencoder_digest": contract_digest(autoencoder), **scale})
    rows = [
        {"case_id": case_id}
        | {name: measure(levels, GRID["spacing_mm"], REGIONS)[name] for name in CONDITIONS}
        | {
            "foreground_volume_ml": float((image[0] > -1).sum() * VOXEL_ML),
            "largest_piece_fraction": 1 - 0.1 * case_id.endswith("1-000"),
        }
        for case_id, (image, levels) in zip(latents, cases, strict=True)
    ]
    write_tsv(folder / "conditions.tsv", pd.DataFrame(rows))


def train(folder: Path, state: Path, out: Path, config: dict = CONFIG) -> Path:
    """Run the program train_generator on what `make_inputs` made."""
    inputs = ["--latents", str(folder / "latents"), "--autoencoder", str(folder / "autoencoder")]
    inputs += ["--conditions", str(folder / "latents" / "conditions.tsv")]
    outputs = ["--out", str(out), "--state", str(state)]
    train_generator.main(["--config", json.dumps(config), *inputs, *outputs, "--threads", "1"])
    return out


def write_cohort(folder: Path, model: Path, volumes: list) -> list[str]:
    """A cohort whose six training cases are these volumes (image, levels), and two other patients, held out; the six ids."""
    store, ids = VolumeStore(folder / "volumes"), read_json(model / "model.json")["training_case_ids"]
    assert len(volumes) == len(ids) + 2
    ids = [*ids, "other-0", "other-1"]
    for case_id, (image, levels) in zip(ids, volumes, strict=True):
        meta = {
            "case_id": case_id,
            "patient_id": case_id,
            "modalities": MODALITIES,
            **GRID,
            "affine": np.eye(4).tolist(),
        }
        store.save(case_id, image, levels, meta)
    write_tsv(folder / "cases.tsv", pd.DataFrame({"case_id": ids, "patient_id": ids}))
    write_json(folder / "splits.json", {"seed": 0, "train": {"6": ids[:6]}, "val": ids[6:7], "test": ids[7:]})
    return ids[:6]
