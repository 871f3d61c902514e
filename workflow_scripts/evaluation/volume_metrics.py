"""What is measured on whole volumes rather than slices: likeness of pairs of cases, and gradients through the planes."""

from collections.abc import Sequence

import numpy as np
import torch

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first (Wang et al. 2003)
WINDOW = 11  # voxels


def gradient_ratio(image: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Mean absolute gradient along the depth over that within the planes, in the foreground, for each modality.

    A generator that decodes slice by slice may leave neighbouring slices that do not fit (more than in real cases), or
    smooth the depth away (less). It is compared with the same ratio of real cases on the same grid, never with 1: real
    slices may be thick.

    image : (M, D, H, W) in [-1, 1], background exactly -1
    spacing_mm : of depth, height, width

    Returns (M,) mean |difference of neighbours| / mm along the depth, divided by the mean of the same along height and
    width; only neighbours that both are foreground (above -1 in any modality) count. NaN where there is none or all is
    flat.
    """
    foreground = (np.asarray(image) > -1.0).any(axis=0)
    ratios = []
    for channel in image:
        channel, gradients = np.asarray(channel, dtype=np.float32), []
        for axis, edge_mm in enumerate(spacing_mm):
            low, high = (tuple(slice(*part) if a == axis else slice(None) for a in range(3)) for part in _NEIGHBOURS)
            both = foreground[low] & foreground[high]
            difference = np.abs(channel[high] - channel[low])[both]
            gradients.append(difference.mean(dtype=np.float64) / edge_mm if both.any() else np.nan)
        in_plane = (gradients[1] + gradients[2]) / 2
        ratios.append(gradients[0] / in_plane if in_plane > 0 else np.nan)
    return np.array(ratios)


_NEIGHBOURS = ((None, -1), (1, None))


def ms_ssim_scales(size: Sequence[int]) -> tuple[int, int]:
    """(scales, window in voxels) of MS-SSIM that fit a grid (D, H, W): at most five, fewer on coarse grids.

    The window must lie within the grid on the coarsest scale, where every edge is 2^(scales - 1) times shorter; MONAI
    asks for edges of more than (scales - 1)^2 windows less one, too.
    """
    smallest = min(size)
    window = min(WINDOW, smallest - (smallest + 1) % 2)
    fitting = [n for n in range(1, 6) if smallest // max(2 ** (n - 1), (n - 1) ** 2) >= window]
    return max(fitting), window


def ms_ssim(a: np.ndarray, b: np.ndarray, device: torch.device | str = "cpu") -> np.ndarray:
    """Multi-scale structural similarity in 3D of two volumes, (M,), one for each modality.

    MONAI's, on the whole grid, background included, intensities [-1, 1] mapped to [0, 1]; with `ms_ssim_scales` of them,
    the weights of the scales that are left summing to 1. a, b: (M, D, H, W).
    """
    from monai.metrics.regression import compute_ms_ssim

    scales, window = ms_ssim_scales(a.shape[1:])
    weights = np.array(SCALE_WEIGHTS[:scales])
    pair = [(torch.as_tensor(np.asarray(x, dtype=np.float32)[:, None], device=device) + 1) / 2 for x in (a, b)]
    values = [
        compute_ms_ssim(
            one[None], other[None], spatial_dims=3, kernel_size=window, weights=(weights / weights.sum()).tolist()
        )
        for one, other in zip(*pair, strict=True)
    ]
    return torch.cat(values).flatten().double().cpu().numpy()
