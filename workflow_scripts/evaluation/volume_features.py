"""One vector a volume: the features of its slices, as an ImageNet network sees them, averaged over each plane.

Slices enter the network as for the Fréchet distance (`image_features`). Each modality in each plane gives a vector of
its own, averaged over slices and brought to length 1; side by side they are the volume's. The dot product of two
volumes is their cosine similarity. A mirrored volume has mirrored axial and coronal slices and the same sagittal ones.
"""

import numpy as np
import torch

from ..models.feature_network import load_feature_network
from ..study.settings.evaluation import ImageFeatures
from ..training.devices import default_device
from .image_features import features_in, fitting_slice_size, foreground_slices, slice_images

SLICES = 16  # a plane, evenly spaced over those with foreground: an average needs no more


class FeatureReader:
    """Features of volumes on one grid: (M, D, H, W) in [-1, 1] -> float32 (F,), of length 1 at most."""

    def __init__(self, settings: ImageFeatures, grid: dict):
        self.settings, self.spacing_mm, self.device = settings, grid["spacing_mm"], default_device()
        self.network = load_feature_network().to(self.device)
        self.size = fitting_slice_size(grid["size"])

    @torch.inference_mode()
    def __call__(self, image: np.ndarray, mirrored: bool = False) -> np.ndarray:
        """A plane without a slice of enough foreground counts zero."""
        blocks, batch_size = [], self.settings.batch_size
        for plane in self.settings.planes:
            found = foreground_slices(image, plane, self.settings.min_foreground_fraction)
            if len(found) > SLICES:
                found = found[np.linspace(0, len(found) - 1, SLICES).round().astype(int)]
            weight = 1.0 if len(found) else 0.0
            total = 0.0
            for start in range(0, max(len(found), 1), batch_size):
                chosen = found[start : start + batch_size] if len(found) else np.zeros(1, dtype=int)
                pictures = slice_images(image, plane, chosen, self.spacing_mm, self.size, self.device)
                if mirrored and plane != "sagittal":
                    pictures = pictures.flip(-1)
                seen = features_in(self.network, pictures).double().cpu().numpy()
                total = total + weight * seen.reshape(-1, len(image), seen.shape[1]).sum(axis=0)  # (M, features)
            blocks.append(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12))
        stacked = np.stack(blocks)  # (planes, M, features), each of length 1, or 0 without foreground
        return (stacked / np.sqrt(stacked.shape[0] * stacked.shape[1])).ravel().astype(np.float32)
