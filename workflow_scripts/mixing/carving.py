"""A tumour cut out of one patient with a margin, and put into another (CarveMix, Zhang et al. 2021, arXiv 2108.06883)."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ..diffusion.hosts import Host

NEAR_TUMOUR_VOXELS = 2  # around a tumour that are not taken for healthy tissue: borders are blurred
WHOLE = (
    0.96  # share of a tumour inside the foreground with which a place is good enough: the gate takes off 0.05 at most
)


def signed_distance_mm(tumour: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Distance (D, H, W) to the border of a mask (D, H, W), negative inside it; spacing along (z, y, x)."""
    outside, inside = (ndimage.distance_transform_edt(mask, sampling=spacing_mm) for mask in (~tumour, tumour))
    return np.asarray(outside - inside)


def draw_threshold_mm(distance_mm: np.ndarray, inner_share: float, margin_mm: float, rng: np.random.Generator) -> float:
    """Up to which signed distance the patient is cut out.

    As in CarveMix: even chances of a border inside the tumour and of one outside it, each time uniform. It lies inside
    by at most `inner_share` of the tumour's depth (there 1/2), outside by at most `margin_mm` (there its depth). With
    an `inner_share` of 0 the tumour is always whole.
    """
    depth_mm = -float(distance_mm.min())
    inside, share = rng.random() < 0.5, rng.random()
    return -share * inner_share * depth_mm if inside and inner_share else share * margin_mm


def healthy_tissue(case: Host) -> np.ndarray:
    """bool (D, H, W): the foreground, less the tumour and its surroundings; all of it where nothing is left."""
    near = ndimage.binary_dilation(case.levels > 0, iterations=NEAR_TUMOUR_VOXELS)
    healthy = case.foreground & ~near
    return healthy if healthy.any() else case.foreground


def matched(donor: Host, host: Host) -> np.ndarray:
    """The donor's image (M, D, H, W) with median and spread (median absolute deviation) of healthy tissue as the host's."""
    image = np.empty_like(donor.image)
    tissues = [healthy_tissue(case) for case in (donor, host)]
    for channel, of_donor, of_host in zip(image, donor.image, host.image, strict=True):
        values = [own[tissue] for own, tissue in zip((of_donor, of_host), tissues, strict=True)]
        median, wanted = (float(np.median(own)) for own in values)
        spread, wanted_spread = (float(np.median(np.abs(own - np.median(own)))) for own in values)
        scale = wanted_spread / spread if spread > 0 and wanted_spread > 0 else 1.0
        channel[...] = (of_donor - median) * scale + wanted
    return image


def shifted(volume: np.ndarray, shift: Sequence[int], fill: float = 0) -> np.ndarray:
    """`volume` (..., D, H, W) moved by whole voxels (z, y, x); what enters is `fill`."""
    out = np.full_like(volume, fill)
    into, origin = [], []
    for step, edge in zip(shift, volume.shape[-3:], strict=True):
        step = int(np.clip(step, -edge, edge))
        into.append(slice(max(step, 0), edge + min(step, 0)))
        origin.append(slice(max(-step, 0), edge - max(step, 0)))
    out[(..., *into)] = volume[(..., *origin)]
    return out


def place(tumour: np.ndarray, foreground: np.ndarray, wanted: Sequence[float]) -> tuple[int, int, int]:
    """By how many voxels (z, y, x) a tumour (D, H, W) is moved, at best by `wanted`, so that it lies in the foreground.

    Towards what is wanted in quarters, as far as `WHOLE` of it stays inside; where it does so nowhere on that way, from
    the best place of it towards the middle of the foreground, voxel by voxel.
    """
    total, middle = tumour.sum(), np.argwhere(foreground).mean(axis=0)

    def inside(shift: np.ndarray) -> float:
        return float((shifted(tumour, shift) & foreground).sum() / total)

    way = [np.rint(np.asarray(wanted) * part).astype(int) for part in (1, 0.75, 0.5, 0.25, 0)]
    found = [inside(shift) for shift in way]
    good = [shift for shift, share in zip(way, found, strict=True) if share >= WHOLE]
    if not good:
        start = way[int(np.argmax(found))]
        inwards = middle - (np.argwhere(tumour).mean(axis=0) + start)
        length = float(np.linalg.norm(inwards))
        way = [start + np.rint(inwards * min(step / max(length, 1), 1)).astype(int) for step in range(int(length) + 2)]
        found = [inside(shift) for shift in way]
        good = [shift for shift, share in zip(way, found, strict=True) if share >= WHOLE]
    chosen = good[0] if good else way[int(np.argmax(found))]
    return int(chosen[0]), int(chosen[1]), int(chosen[2])


def mix(donor: Host, host: Host, region: np.ndarray, shift: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The host with a region (D, H, W) of the donor, moved: image (M, D, H, W), levels (D, H, W), and where it is.

    What of the region is not the donor's foreground, or falls outside of the host's, changes no intensity; levels are
    the donor's even there, so that one can see what is lost. Elsewhere all is the host's.
    """
    carved = shifted(region & donor.foreground, shift)
    image = np.where(carved & host.foreground, shifted(matched(donor, host), shift, -1.0), host.image)
    levels = np.where(carved, shifted(donor.levels, shift), host.levels)
    return image.astype(np.float32), levels.astype(np.uint8), carved
