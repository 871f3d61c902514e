"""Features of the slices of a volume, as a network for photographs sees them, or of the volume as a 3D network does.

How MR images enter a network for colour photographs: each modality is a grey image of its own (the three colour
channels are equal), intensities [-1, 1] mapped to [0, 1], and the images of all modalities are samples of one set.
A slice is scaled with its proportions in mm kept, so that its longer side fills the square, and centred on background.
Slices with less foreground than a stated share are left out, and of slices that lie closer than a stated step, which show
nearly the same, those between: at 1 mm that is two thirds of the time. A network of volumes sees each modality whole.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from ..base.errors import UserError
from ..cohort.planes import PLANES

SLICE_SIZE = 224  # pixels; what EfficientNet-Lite0 was trained at, and the most that is used

STRIDE = 32  # of the network: sizes are multiples of it
# At once: so few that a layer of them stays in a CPU's cache. 128 images of 192 pixels took two to three times as long.
CPU_PIXELS = 4 * 192**2


def fitting_slice_size(size: Sequence[int]) -> int:
    """Pixels at which slices of a volume (D, H, W) are seen: enough for its longest side, 64 to SLICE_SIZE.

    To blow up coarse slices further costs time (with the square of the size) and shows the network nothing new.
    """
    return min(max(-(-max(size) // STRIDE) * STRIDE, 2 * STRIDE), SLICE_SIZE)


def on_device(image: np.ndarray | torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """A volume whole on `device`, as it is stored: cutting and scaling slices is the device's work."""
    return image if torch.is_tensor(image) else torch.from_numpy(np.array(image)).to(device)


def foreground_slices(image: np.ndarray | torch.Tensor, plane: str, min_foreground_fraction: float) -> np.ndarray:
    """Indices of the slices of `plane` in `image` (M, D, H, W) in which at least `min_foreground_fraction` of the
    pixels are foreground (above -1 in any modality) and at least one is."""
    foreground = (on_device(image, "cpu") > -1.0).any(dim=0)
    others = [axis for axis in range(3) if axis != PLANES[plane]]
    counts = foreground.sum(dim=others).cpu().numpy()
    fraction = counts / (foreground.numel() / len(counts))
    return np.flatnonzero((fraction >= min_foreground_fraction) & (fraction > 0))


def spread_slices(indices: np.ndarray, count: int, spacing_mm: float, step_mm: float) -> np.ndarray:
    """Those of `indices`, slices of a plane of `count`, that are at most `step_mm` apart on the grid, its middle among them.

    Where slices are as far apart as that or farther, or step_mm is 0, all stay.
    """
    step = max(1, int(step_mm / spacing_mm + 1e-6))
    return indices[(indices - count // 2) % step == 0]


def slice_images(
    image: np.ndarray | torch.Tensor,
    plane: str,
    indices: np.ndarray,
    spacing_mm: Sequence[float],
    size: int = SLICE_SIZE,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Slices of one plane as the network takes them, made on `device`.

    image (M, D, H, W) in [-1, 1], spacing_mm of (D, H, W) -> (n * M, 3, size, size) in [0, 1], slice by slice.
    """
    axis = PLANES[plane]
    volume = on_device(image, device)
    picked = volume.index_select(axis + 1, torch.from_numpy(indices).to(volume.device)).movedim(axis + 1, 0)
    n, modalities, height, width = picked.shape
    grey = picked.float().reshape(n * modalities, 1, height, width)  # the three channels are not made until they must
    grey = (grey + 1.0).div_(2.0).clamp_(0.0, 1.0)
    height_mm, width_mm = (n * edge for n, edge in zip((height, width), np.delete(spacing_mm, axis), strict=True))
    longest = max(height_mm, width_mm)
    shape = [max(1, round(size * length / longest)) for length in (height_mm, width_mm)]
    grey = torch.nn.functional.interpolate(grey, shape, mode="bilinear", antialias=True, align_corners=False)
    top, left = (size - shape[0]) // 2, (size - shape[1]) // 2
    grey = torch.nn.functional.pad(grey, (left, size - shape[1] - left, top, size - shape[0] - top))
    return grey.expand(-1, 3, -1, -1)


def features_in(network: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """Features (n, F) float32 that the network has of pictures (n, 3, size, size); on a CPU of few at a time."""
    at_once = max(1, CPU_PIXELS // pictures.shape[2] ** 2) if pictures.device.type == "cpu" else len(pictures)
    parts = pictures.split(at_once)
    return torch.cat([network(part.contiguous(memory_format=torch.channels_last)).float() for part in parts])


def _kept(features: torch.Tensor) -> np.ndarray:
    kept = features.half().cpu().numpy()
    if not np.isfinite(kept).all():
        raise UserError("image features hold NaN or infinity: the images or the network's weights are broken")
    return kept


@torch.inference_mode()
def case_features(
    network: nn.Module,
    image: np.ndarray,
    planes: Sequence[str],
    spacing_mm: Sequence[float],
    min_foreground_fraction: float,
    slice_step_mm: float,
    batch_size: int,
    device: torch.device | str = "cpu",
    size: int = SLICE_SIZE,
) -> dict[str, np.ndarray]:
    """Features of the slices with foreground of one case, for each plane; {"volume": ...} by a network of volumes.

    network : maps (B, 3, size, size) in [0, 1] to (B, F), or (B, 1, D, H, W) where its spatial_dims is 3
    image : (M, D, H, W) in [-1, 1], background exactly -1
    slice_step_mm : slices that are seen lie at most so far apart where the grid is finer (`spread_slices`)
    batch_size : slices, of all modalities, that go through the network at once; a volume goes alone

    Returns float16 (M, n, F) for each plane, its n slices in the order of the grid (n may be 0); float16 (M, 1, F) for
    "volume". Rounding to float16 changes a feature by less than 0.05 %, and halves what is kept of a case. Raises
    UserError where features are not finite.
    """
    modalities, volume = len(image), on_device(image, device)
    if network.spatial_dims == 3:
        volumes = (((x.float() + 1.0) / 2.0).clamp_(0.0, 1.0)[None, None] for x in volume)
        seen = [_kept(network(x.to(memory_format=torch.channels_last_3d)).float()) for x in volumes]
        return {"volume": np.stack(seen)}
    found = {}
    for plane in planes:
        axis = PLANES[plane]
        indices = foreground_slices(volume, plane, min_foreground_fraction)
        indices = spread_slices(indices, volume.shape[axis + 1], spacing_mm[axis], slice_step_mm)
        parts = []
        for start in range(0, len(indices), batch_size):
            images = slice_images(volume, plane, indices[start : start + batch_size], spacing_mm, size)
            parts.append(features_in(network, images))
        features = _kept(torch.cat(parts)) if parts else np.zeros((0, 1), dtype=np.float16)
        by_slice = features.reshape(len(indices), modalities, features.shape[1])
        found[plane] = np.ascontiguousarray(by_slice.swapaxes(0, 1))
    return found
