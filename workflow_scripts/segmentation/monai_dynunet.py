"""MONAI's DynUNet as a segmenter, for quick looks: its own transforms, Dice and cross-entropy on the nested regions, AdamW,
and a sliding window. See `segmentation.segmenter` for what the four functions are.

Cases stay on the cohort's grid: cropped to the foreground, each channel normalised within it, nothing resampled.
"""

import hashlib
import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import monai.transforms as mt
import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.losses import DiceLoss
from monai.networks.nets import DynUNet
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..base.cli import log
from ..base.errors import UserError
from ..base.files import atomic
from ..base.seeds import numpy_rng, seed_of
from ..cohort.volumes import VolumeStore
from ..study.settings.segmentation import Segmentation
from ..training.curves import CURVE
from ..training.devices import autocast, resolve_precision
from ..training.launch import train as train_network
from ..training.task import Player
from .cases import checked_volume
from .networks import load_weights, use_own_convolutions
from .segmenter import Plan, Trained, Training

POOL_SUFFIXES = (".safetensors",)
EPOCHS, ITERATIONS, LARGEST_PATCH, EDGE_STEP = 20, 250, 128, 16  # the last two in voxels
FEATURES, MOST_FEATURES, MOST_STAGES = 32, 320, 6
NNUNET_TO_ADAM = 0.1  # AdamW's learning rate for one of nnU-Net's SGD; nnU-Net's own is 0.01
OVERLAP = 0.5  # of windows, in each axis


def foreground_box(image: np.ndarray) -> tuple[slice, ...]:
    """The smallest box (three slices) around what is not background (-1 in all channels) of an image (M, D, H, W)."""
    places = np.nonzero((image > -1).any(axis=0))
    return tuple(slice(int(where.min()), int(where.max()) + 1) for where in places)


def normalised(image: np.ndarray) -> np.ndarray:
    """Each channel (D, H, W) with mean 0 and deviation 1 over the foreground; 0 outside it. float32."""
    image, inside = np.asarray(image, dtype=np.float32), (np.asarray(image) > -1).any(axis=0)
    values = image[:, inside]  # (M, voxels)
    out = np.zeros_like(image)
    out[:, inside] = (values - values.mean(axis=1, keepdims=True)) / np.maximum(values.std(axis=1, keepdims=True), 1e-6)
    return out


def strides_of(patch: list[int], spacing_mm: list[float]) -> list[list[int]]:
    """Strides of the stages (the first is 1): an axis is halved while it is even, at least 8 voxels long and not coarse."""
    edges, spacing, strides = list(patch), list(spacing_mm), [[1, 1, 1]]
    while len(strides) < MOST_STAGES:
        fine = [step <= 2 * min(spacing) for step in spacing]
        stride = [2 if near and edge >= 8 and edge % 2 == 0 else 1 for near, edge in zip(fine, edges, strict=True)]
        if stride == [1, 1, 1]:
            break
        strides.append(stride)
        edges = [edge // step for edge, step in zip(edges, stride, strict=True)]
        spacing = [length * step for length, step in zip(spacing, stride, strict=True)]
    return strides


def plan(store: VolumeStore, case_ids: list[str], head: Plan, settings: Segmentation, threads: int) -> dict:
    """Patch (depth, height, width), strides and widths for the median foreground of the training cases."""
    boxes = [foreground_box(checked_volume(store, case_id, head.modalities)[0]) for case_id in case_ids]
    median = np.median([[side.stop - side.start for side in box] for box in boxes], axis=0)
    fitting = [min(math.ceil(edge / EDGE_STEP) * EDGE_STEP, LARGEST_PATCH) for edge in median.tolist()]
    patch = settings.patch_size or fitting
    strides = strides_of(patch, head.grid_spacing_mm)
    features = settings.features_per_stage or [min(FEATURES * 2**i, MOST_FEATURES) for i in range(len(strides))]
    if not 3 <= len(features) <= len(strides):
        raise UserError(
            f"segmentation.features_per_stage has {len(features)} entries, but monai_dynunet needs 3 or more, and a patch of "
            f"{patch} voxels allows {len(strides)}: an edge that is even is halved, down to 4 voxels. Write, for example: "
            "patch_size: [96, 96, 96] and features_per_stage: [32, 64, 128, 256]"
        )
    own = {"patch_size": patch, "batch_size": settings.batch_size or 2, "features_per_stage": features}
    log.info("planned on %d cases: patch %s, batch %d, features %s", len(case_ids), *own.values())
    return own | {"strides": strides[: len(features)]}


def pool(plan: Plan, folder: Path, pool_id: str, image: np.ndarray, levels: np.ndarray, spacing_mm: list[float]) -> str:
    """Write ``image`` (M, d, h, w) float16 and ``regions`` (R, d, h, w) uint8 of the foreground's box."""
    box = foreground_box(image)
    regions = np.stack([levels[box] > index for index in range(len(plan.regions))]).astype(np.uint8)
    case = {
        "image": torch.from_numpy(normalised(image[:, *box]).astype(np.float16)),
        "regions": torch.from_numpy(regions),
    }
    with atomic(folder / f"{pool_id}{POOL_SUFFIXES[0]}") as temporary:
        save_file(case, temporary)
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in case.values())).hexdigest()[:16]


def build_network(plan: Plan) -> nn.Module:
    """(B, M, D, H, W) -> logits (B, R, D, H, W)."""
    strides = plan.own["strides"]
    network = DynUNet(
        spatial_dims=3,
        in_channels=len(plan.modalities),
        out_channels=len(plan.regions),
        kernel_size=[3] * len(strides),
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=plan.own["features_per_stage"],
        res_block=True,
    )
    use_own_convolutions(network)
    return network


def transforms(patch: list[int], augmentation: bool) -> mt.Compose:
    """From a case to a patch: half of them around a voxel of the largest region, then MONAI's random changes."""
    both = ["image", "regions"]
    steps = [
        mt.SpatialPadd(both, patch),
        mt.RandCropByPosNegLabeld(both, label_key="regions", spatial_size=patch, pos=1, neg=1, num_samples=1),
    ]
    if augmentation:
        steps += [mt.RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(3)]
        steps += [
            mt.RandZoomd(
                both, prob=0.2, min_zoom=0.8, max_zoom=1.25, mode=("trilinear", "nearest"), padding_mode="edge"
            ),
            mt.RandGaussianNoised("image", prob=0.15, std=0.1),
            mt.RandGaussianSmoothd("image", prob=0.1, sigma_x=(0.5, 1), sigma_y=(0.5, 1), sigma_z=(0.5, 1)),
            mt.RandScaleIntensityd("image", prob=0.3, factors=0.25, channel_wise=True),
            mt.RandShiftIntensityd("image", prob=0.3, offsets=0.1),
        ]
    return mt.Compose(steps)


class ArmTask:
    """What the training loop trains: see `training.task.Task`."""

    def __init__(self, training: Training, network: nn.Module, learning_rate: float, steps: int):
        self.view, self.listed, self.seed = training.view, training.cases.train_ids, training.cases.arm.seed
        self.draws = training.draws(steps)
        self.own, self.augmentation = training.plan.own, training.settings.augmentation
        self.players = {"segmenter": Player(network, learning_rate, weight_decay=1e-5)}
        self.dice = DiceLoss(sigmoid=True, batch=True)

    def _sample(self, step: int, place: int, pool_id: str | None) -> dict[str, Tensor]:
        keys = (self.seed, "monai_dynunet", step, place)
        if pool_id is None:
            pool_id = self.listed[numpy_rng(*keys).integers(len(self.listed))]  # with replacement, as nnU-Net draws
        case = load_file(self.view / f"{pool_id}{POOL_SUFFIXES[0]}")
        chain = transforms(self.own["patch_size"], self.augmentation).set_random_state(seed_of(*keys) % 2**32)
        patch = chain({"image": case["image"].float(), "regions": case["regions"].float()})[0]
        return {name: patch[name].as_tensor() for name in ("image", "regions")}

    def batch(self, step: int) -> dict[str, Tensor]:
        """image (B, M, *patch) and regions (B, R, *patch), float32."""
        size = self.own["batch_size"]
        drawn = self.draws.batch(step, size) if self.draws else [None] * size
        samples = [self._sample(step, place, pool_id) for place, pool_id in enumerate(drawn)]
        return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}

    def loss(
        self, player: str, modules: Mapping[str, nn.Module], batch: dict[str, Tensor], step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        logits = modules[player](batch["image"]).float()  # (B, R, *patch)
        dice = self.dice(logits, batch["regions"])
        entropy = nn.functional.binary_cross_entropy_with_logits(logits, batch["regions"])
        return dice + entropy, {"dice_loss": dice, "cross_entropy": entropy}


def train(training: Training) -> Trained:
    settings, own, arm = training.settings, training.plan.own, training.cases.arm
    epochs, iterations = settings.epochs or EPOCHS, settings.iterations_per_epoch or ITERATIONS
    learning_rate = NNUNET_TO_ADAM * (settings.initial_learning_rate or 0.01)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(arm.seed, "monai_dynunet", "weights"))
        network = build_network(training.plan)
    loop = {
        "steps": epochs * iterations,
        "batch_size": own["batch_size"],
        "learning_rate": learning_rate,
        "weight_decay": 1e-5,
        "warmup_steps": 0,
        "decay": "cosine",
        "gradient_clip": 12.0,
        "ema_half_life_steps": 0,
        "precision": settings.precision,
        "devices": 1,
        "checkpoint_minutes": settings.checkpoint_minutes,
        "log_every_steps": iterations,
        "prefetch_batches": 2,
    }
    found = train_network(ArmTask(training, network, learning_rate, loop["steps"]), loop, training.state, arm.title)[
        "segmenter"
    ]
    weights = {name: found[name] for name, _ in network.named_parameters()}  # DynUNet has each layer under two names
    head, *rows = [line.split(",") for line in (training.state.folder / CURVE).read_text().split()]
    progress = [
        {"epoch": epoch} | dict(zip(head[1:], map(float, row[1:]), strict=True)) for epoch, row in enumerate(rows)
    ]
    description = {
        "plan": own | {"spacing": training.plan.grid_spacing_mm},
        "training": {
            "epochs": epochs,
            "iterations_per_epoch": iterations,
            "initial_learning_rate": learning_rate,
            "augmentation": settings.augmentation,
            "precision": resolve_precision(settings.precision, training.device),
            "parameters": sum(values.numel() for values in weights.values()),
        },
        "prediction": {
            "mirroring": settings.mirroring,
            "mirror_axes": [0, 1, 2] if settings.augmentation else None,
            "precision": settings.precision,
        },
        "monai": version("monai"),
    }
    return Trained(weights, progress, epochs * iterations * own["batch_size"], description)


class DynUNetPredictor:
    """MONAI's sliding window over the foreground's box; 0 outside it."""

    def __init__(
        self, plan: Plan, weights_file: Path, mirror_axes: list[int] | None, precision: str, device: torch.device
    ):
        self.plan, self.device = plan, device
        self.precision = resolve_precision(precision, device)
        self.network = load_weights(build_network(plan), weights_file).to(device)
        axes = [axis + 2 for axis in mirror_axes or []]  # of (B, M, D, H, W)
        self.flips = [[axis for bit, axis in enumerate(axes) if number >> bit & 1] for number in range(2 ** len(axes))]

    def _window(self, window: Tensor) -> Tensor:
        with autocast(self.device, self.precision):
            parts = [self.network(window.flip(flip)).float().sigmoid().flip(flip) for flip in self.flips]
        return torch.stack(parts).mean(dim=0)

    @torch.inference_mode()
    def probabilities(self, image: np.ndarray, spacing_mm: list[float]) -> np.ndarray:
        """(R, D, H, W) float32 for an image (M, D, H, W) in [-1, 1]."""
        box = foreground_box(image)
        inside = torch.from_numpy(normalised(image[:, *box]))[None].to(self.device)
        found = sliding_window_inference(inside, self.plan.own["patch_size"], 1, self._window, OVERLAP, mode="gaussian")
        whole = np.zeros((len(self.plan.regions), *image.shape[1:]), dtype=np.float32)
        whole[:, *box] = found[0].cpu().numpy()
        return whole


predict = DynUNetPredictor
