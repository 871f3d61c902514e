"""Growth of a simulated glioma: cell density by reaction and diffusion within the brain's tissue.

du/dt = div(D grad u) + rho u (1 - u), with D larger in white than in grey matter and no flux into fluid or out of the
brain (Swanson et al. 2000, doi:10.1046/j.1365-2184.2000.00177.x). Cells spread fastest along white matter; the front
is about sqrt(D / rho) wide.
"""

import numpy as np

COURANT = np.float32(0.15)  # of the explicit scheme: largest D dt / h^2; it is stable below 1/6
EDGE_DENSITY = 0.16  # cell density at the visible edge (Swanson's threshold for T2)
_MAX_STEPS = 600
_CHECK_EVERY = 5


def grow(
    white: np.ndarray,
    grey: np.ndarray,
    start: tuple[int, int, int],
    spacing_mm: float,
    front_width_mm: float,
    white_to_grey: float,
    rate_factor: np.ndarray,
    volume_mm3: float,
) -> np.ndarray:
    """Cell density (D, H, W) float32 in [0, 1] once the region above `EDGE_DENSITY` fills `volume_mm3`.

    white, grey : (D, H, W) in [0, 1]
        Shares of tissue; voxels with less than half tissue take no cells.
    start : voxel of the first cells.
    front_width_mm : sqrt(D / rho) in white matter.
    white_to_grey : ratio of the two diffusivities.
    rate_factor : (D, H, W), local multiple of rho: makes the outline irregular.
    volume_mm3 : growth also ends after a bounded number of steps, where the tissue offers less room.
    """
    tissue = white + grey > 0.5
    diffusivity = np.where(tissue, (white + grey / np.float32(white_to_grey)) / (white + grey + 1e-6), 0)
    diffusivity = diffusivity.astype(np.float32) * COURANT
    faces = [_face_mean(diffusivity, axis) for axis in range(3)]
    rate = (rate_factor * tissue * COURANT * (spacing_mm / front_width_mm) ** 2).astype(np.float32)
    density = np.zeros(white.shape, np.float32)
    around = tuple(slice(max(0, i - 1), i + 2) for i in start)
    density[around] = 0.8 * tissue[around]
    wanted = volume_mm3 / spacing_mm**3
    for step in range(_MAX_STEPS):
        change = rate * density * (1 - density)
        for axis, face in enumerate(faces):
            lower, upper = _neighbours(axis)
            flux = face * (density[upper] - density[lower])
            change[lower] += flux
            change[upper] -= flux
        density += change
        if step % _CHECK_EVERY == 0 and np.count_nonzero(density > EDGE_DENSITY) >= wanted:
            break
    return np.clip(density, 0, 1)


def _neighbours(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices of all voxels but the last, and of all but the first, along `axis`."""
    everything = [slice(None)] * 3
    lower, upper = list(everything), list(everything)
    lower[axis], upper[axis] = slice(None, -1), slice(1, None)
    return tuple(lower), tuple(upper)


def _face_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Harmonic mean of neighbours along `axis`: zero where either is, so that nothing crosses into fluid."""
    lower, upper = (values[part] for part in _neighbours(axis))
    return (2 * lower * upper / np.maximum(lower + upper, np.float32(1e-12))).astype(np.float32)
