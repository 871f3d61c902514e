"""nnU-Net's batches where a GPU trains: the draws in worker processes, the arithmetic of the augmentation on the GPU.

A batch of nnU-Net's takes a CPU core a second or more, most of it interpolation, and a GPU about ten times less than the
training step on it. Here a worker cuts the patches, without the padding around them, and draws from the same generators
in the same order as nnU-Net's loader does; nnU-Net's own transforms are then applied on the GPU, ahead of the step and
beside it. So a batch is that of `NumberedBatches` but for rounding, and still a function of (seed, role, number).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform, _build_kernel
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from torch import Tensor
from torch.nn import functional

from ...training.prefetch import prefetched
from ..draws import Draws
from .batches import NumberedBatches

REACH = 64.0  # voxels from the centre at which an affine map is probed
TRUNCATE = 6  # standard deviations over which nnU-Net blurs
SCORE = 1000.0  # of a label that fills the neighbourhood, as in nnU-Net's resampling of labels, in float16


class DrawnBatches(NumberedBatches):
    """Patches as they lie in the files, and what was drawn for them: batch `number` is a list of samples.

    A sample: "image" (C, ...) float32 and "labels" (1, ...) int16, cut where the volume ends; "padding" as
    ``functional.pad`` takes it; "draws", a list of (place of the transform, its parameters).
    """

    def __init__(self, loader: nnUNetDataLoader, seed: int, role: str, draws: Draws | None = None):
        super().__init__(loader, seed, role, draws)
        for transform in loader.transforms.transforms:
            if isinstance(transform, SpatialTransform):  # four points in place of the whole grid: see `_grid`
                probes = torch.cat([torch.zeros(1, 3), REACH * torch.eye(3)])
                transform._grid_cache[tuple(transform.patch_size)] = probes

    @torch.no_grad()
    def __getitem__(self, number: int) -> list[dict]:
        self.start(number)
        return [self._sample(place, case_id) for place, case_id in enumerate(self.loader.get_indices())]

    def _sample(self, place: int, case_id: str) -> dict:
        loader = self.loader
        oversample = loader.get_do_oversample(place)
        image, labels, _, properties = loader._data.load_case(case_id)
        low, high = loader.get_bbox(image.shape[1:], oversample, properties["class_locations"])
        draws = _draw(loader.transforms.transforms, len(image), [b - a for a, b in zip(low, high, strict=True)])
        patch = [int(edge) for edge in loader.final_patch_size]
        if not any("grid" in params for _, params in draws):  # the middle alone is looked at
            low = [a + (b - a) // 2 - edge // 2 for a, b, edge in zip(low, high, patch, strict=True)]
            high = [a + edge for a, edge in zip(low, patch, strict=True)]
        padding = [(max(0, -a), max(0, b - n)) for a, b, n in zip(low, high, image.shape[1:], strict=True)]
        inside = (slice(None), *(slice(max(0, a), b) for a, b in zip(low, high, strict=True)))
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image[inside], dtype=np.float32)),
            "labels": torch.from_numpy(np.ascontiguousarray(labels[inside], dtype=np.int16)),
            "padding": [edge for pair in reversed(padding) for edge in pair],
            "draws": draws,
        }


def _draw(transforms: Sequence[BasicTransform], channels: int, shape: Sequence[int]) -> list[tuple[int, dict]]:
    """What each transform draws for a sample, in their order; those that are not applied are left out."""
    found = []
    for place, transform in enumerate(transforms):
        if isinstance(transform, RandomTransform):
            if not transform.get_parameters()["apply_transform"]:
                continue
            transform = transform.transform
        image = torch.empty(1).expand(channels, *shape)  # parameters depend on its shape alone
        params = transform.get_parameters(image=image)
        if isinstance(transform, SpatialTransform):
            shape = [int(edge) for edge in transform.patch_size]
            params = {} if params["grid"] is None else {"grid": params["grid"]}
        elif isinstance(transform, GaussianNoiseTransform):
            noise = torch.zeros(channels, *shape)
            params = {"noise": transform._apply_to_image(noise, **params)}
        # arrays: a small tensor would take a shared memory of its own
        found.append((place, {k: v.numpy() if torch.is_tensor(v) and k != "noise" else v for k, v in params.items()}))
    return found


class Augmentation:
    """The transforms of a loader on a device: a batch of `DrawnBatches` -> {"data", "target"} as nnU-Net trains on.

    labels: all that a voxel may have, with -1 for what lies outside.
    """

    def __init__(self, loader: nnUNetDataLoader, labels: Sequence[int], device: torch.device):
        self.transforms, self.labels, self.device = loader.transforms.transforms, sorted({-1, *labels}), device
        edges = map(int, loader.final_patch_size)
        axes = [torch.linspace((1 - n) / 2, (n - 1) / 2, n, device=device)[:, None] for n in edges]
        self.axes = [axis.reshape([-1 if k == d else 1 for k in range(3)] + [1]) for d, axis in enumerate(axes)]

    @torch.no_grad()
    def __call__(self, samples: Sequence[dict]) -> dict:
        images, targets = zip(*map(self._apply, samples), strict=True)
        if isinstance(targets[0], list):
            return {"data": torch.stack(images), "target": [torch.stack(scale) for scale in zip(*targets, strict=True)]}
        return {"data": torch.stack(images), "target": torch.stack(targets)}

    def _apply(self, sample: dict) -> tuple[Tensor, Tensor | list[Tensor]]:
        image, labels = (sample[key].to(self.device, non_blocking=True) for key in ("image", "labels"))
        data = {
            "image": functional.pad(image, sample["padding"]),
            "segmentation": functional.pad(labels, sample["padding"], value=-1),
        }
        for place, params in sample["draws"]:
            transform = self.transforms[place]
            transform = getattr(transform, "transform", transform)
            params = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in params.items()}
            data = self._one(transform, data, params)
        return data["image"], data["segmentation"]

    def _one(self, transform: BasicTransform, data: dict, params: dict) -> dict:
        """One transform; those of nnU-Net's that would wait for the GPU, or keep to the CPU, are written anew."""
        image, labels = data["image"], data["segmentation"]
        if isinstance(transform, SpatialTransform):
            if "grid" not in params:
                return data  # cut to the middle already
            grid = self._grid(params["grid"])
            image = transform._apply_to_image(image, grid=grid)
            return {"image": image, "segmentation": self._resampled(labels, grid, transform.align_corners)}
        if isinstance(transform, GaussianBlurTransform):
            for channel, sigmas in zip(np.flatnonzero(params["apply_to_channel"]), params["sigmas"], strict=True):
                image[channel] = _blurred(image[channel], sigmas)
            return data
        if isinstance(transform, GaussianNoiseTransform):
            return data | {"image": image + params["noise"].to(self.device, non_blocking=True)}
        if isinstance(transform, MaskImageTransform):
            outside = labels[transform.channel_idx_in_seg] < 0
            for channel in transform.apply_to_channels:
                image[channel].masked_fill_(outside, transform.set_outside_to)
            return data
        if isinstance(transform, RemoveLabelTransform):
            return data | {"segmentation": labels.masked_fill(labels == transform.label_value, transform.set_to)}
        if isinstance(transform, ConvertSegmentationToRegionsTransform):
            level = labels[transform.channel_in_seg]
            regions = [[level == int(label) for label in region] for region in transform.regions]
            return data | {"segmentation": torch.stack([torch.stack(parts).any(0) for parts in regions])}
        return transform.apply(data, **params)

    def _grid(self, probes: Tensor) -> Tensor:
        """Where each voxel of the patch is looked up, from where the centre and three points around it are."""
        probes = probes.to(self.device, non_blocking=True)
        steps = (probes[1:] - probes[0]) / REACH
        return probes[0] + sum(axis * step for axis, step in zip(self.axes, steps, strict=True))

    def _resampled(self, labels: Tensor, grid: Tensor, align_corners: bool) -> Tensor:
        """As nnU-Net: the label with the highest interpolated share, the nearest voxel's where it is among them."""

        def sample(x: Tensor, mode: str) -> Tensor:
            return functional.grid_sample(x[None], grid[None], mode=mode, align_corners=align_corners)[0]

        names = torch.tensor(self.labels, dtype=labels.dtype, device=self.device)[:, None, None, None]
        nearest = sample((labels + 1).float(), "nearest") - 1.0  # outside: -1
        shares = (labels == names).float().mul_(SCORE)
        shares[0].sub_(SCORE)  # of -1, which goes on outside
        scores = sample(shares, "bilinear")
        scores[0].add_(SCORE)
        scores = scores.half()
        best, place = scores.max(dim=0, keepdim=True)
        own = torch.where(names == nearest.to(labels.dtype), scores, -1.0).amax(dim=0, keepdim=True)
        return torch.where(own == best, nearest.to(labels.dtype), names.flatten()[place])


def _blurred(image: Tensor, sigmas: Sequence[float]) -> Tensor:
    """As nnU-Net: Gaussian blur (D, H, W) along each axis, mirrored at the ends; as shifted sums, since a convolution of
    a single channel keeps a GPU busy for long."""
    for axis, sigma in enumerate(sigmas):
        kernel = _build_kernel(sigma, truncate=TRUNCATE).tolist()
        reach, padding = len(kernel) // 2, [0] * 6
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = reach
        padded, length = functional.pad(image[None], padding, mode="reflect")[0], image.shape[axis]
        image = sum(weight * padded.narrow(axis, shift, length) for shift, weight in enumerate(kernel))
    return image


class DeviceBatches(DrawnBatches):
    """Batches on a GPU, each made while the step before it runs.

    labels: all that a voxel may have, with -1 for what lies outside
    """

    def __init__(
        self,
        loader: nnUNetDataLoader,
        seed: int,
        role: str,
        labels: Sequence[int],
        device: torch.device,
        draws: Draws | None = None,
    ):
        super().__init__(loader, seed, role, draws)
        self._augmentation, self._device = Augmentation(loader, labels, device), device

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key != "_augmentation"}

    @contextmanager
    def stream(self, start: int, stop: int, workers: int) -> Iterator[Iterator[dict]]:
        """As `NumberedBatches.stream`."""
        drawn, side = self.load(start, stop, workers, pin_memory=True), torch.cuda.Stream(self._device)

        def make(number: int) -> tuple[dict, torch.cuda.Event]:
            with torch.cuda.stream(side):
                made = self._augmentation(next(drawn))
                return made, side.record_event()

        def ready(made: Iterator[tuple[dict, torch.cuda.Event]]) -> Iterator[dict]:
            for batch, event in made:
                stream, target = torch.cuda.current_stream(self._device), batch["target"]
                stream.wait_event(event)
                for tensor in (batch["data"], *(target if isinstance(target, list) else [target])):
                    tensor.record_stream(stream)
                yield batch

        with prefetched(make, start, stop, 1) as made:
            yield ready(made)
