"""One vector a volume: the features of its slices, as an ImageNet network sees them, averaged over each plane.

Slices enter the network as for the Fréchet distance (`image_features`). Each modality in each plane gives a vector of
its own, averaged over slices and brought to length 1; side by side they are the volume's. The dot product of two
volumes is their cosine similarity. A mirrored volume has mirrored axial and coronal slices and the same sagittal ones.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from .image_features import foreground_slices, slice_images

SLICES = 16  # a plane, evenly spaced over those with foreground: an average needs no more


@torch.inference_mode()
def volume_features(
    network: Callable[[torch.Tensor], torch.Tensor],
    image: np.ndarray,
    spacing_mm: Sequence[float],
    planes: Sequence[str],
    min_foreground_fraction: float,
    size: int,
    batch_size: int,
    device: torch.device | str = "cpu",
    mirrored: bool = False,
) -> np.ndarray:
    """Features of a volume (M, D, H, W) in [-1, 1]: float32 (F,), of length 1 at most.

    A plane without a slice of enough foreground counts zero. `network` maps (B, 3, size, size) in [0, 1] to
    (B, features);
    a batch holds `batch_size` slices of all modalities.
    """
    blocks = []
    for plane in planes:
        found = foreground_slices(image, plane, min_foreground_fraction)
        if len(found) > SLICES:
            found = found[np.linspace(0, len(found) - 1, SLICES).round().astype(int)]
        weight = 1.0 if len(found) else 0.0
        total = 0.0
        for start in range(0, max(len(found), 1), batch_size):
            chosen = found[start : start + batch_size] if len(found) else np.zeros(1, dtype=int)
            pictures = slice_images(image, plane, chosen, spacing_mm, size, device)
            if mirrored and plane != "sagittal":
                pictures = pictures.flip(-1)
            seen = network(pictures.to(memory_format=torch.channels_last)).double().cpu().numpy()
            total = total + weight * seen.reshape(-1, len(image), seen.shape[1]).sum(axis=0)  # (M, features)
        blocks.append(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12))
    stacked = np.stack(blocks)  # (planes, M, features), each of length 1, or 0 without foreground
    return (stacked / np.sqrt(stacked.shape[0] * stacked.shape[1])).ravel().astype(np.float32)
