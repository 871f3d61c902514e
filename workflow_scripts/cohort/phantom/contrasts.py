"""Four MRI contrasts of a simulated patient from what each voxel holds.

Signals are relative to white matter on T1; their order follows conventional sequences at 3 T: fluid dark on T1 and
FLAIR and bright on T2; oedema bright on T2 and FLAIR; viable tumour bright on T1 after contrast medium, necrosis dark.
"""

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from .fields import Grid, random_field

#             white  grey  fluid  oedema  non-enh.  enhancing  necrosis
SIGNALS = {
    "t1n": (1.00, 0.72, 0.28, 0.70, 0.60, 0.66, 0.46),
    "t1c": (1.00, 0.76, 0.30, 0.70, 0.62, 1.55, 0.44),
    "t2w": (0.42, 0.58, 1.15, 0.95, 0.98, 0.80, 1.08),
    "t2f": (0.52, 0.66, 0.14, 1.12, 1.00, 0.92, 0.62),
}
DETAIL = {"t1n": 1.0, "t1c": 1.0, "t2w": -0.5, "t2f": -0.4}  # share of the template's fine structure
CAPS = {"t1n": -0.05, "t1c": -0.05, "t2w": 0.2, "t2f": 0.5}  # white matter beside the ventricles, per unit strength
MODALITIES = tuple(SIGNALS)


def draw_contrasts(
    rng: np.random.Generator, grid: Grid, tissue: dict[str, np.ndarray], parts: dict[str, np.ndarray], spread: float
) -> dict[str, np.ndarray]:
    """Images as a scanner would give them, (D, H, W) float32 >= 0, arbitrary units, one for each modality.

    `tissue` holds white, grey, fluid, detail and caps, `parts` the soft shares of oedema, solid (non-enhancing),
    enhancing and necrosis; all (D, H, W). Draws tissue means (`spread`: standard deviation of their logarithms), texture,
    receive bias, slice thickness, gain and Rician noise (Gudbjartsson and Patz 1995, doi:10.1002/mrm.1910340618).
    """
    texture = random_field(rng, grid, 5.0)
    coarse = random_field(rng, grid, 14.0)
    bias = random_field(rng, grid, 70.0)
    strength = rng.gamma(2.0, 0.35)
    images = {}
    for modality, means in SIGNALS.items():
        jitter = np.exp(rng.normal(0, spread, 7))
        white, grey, fluid, oedema, solid, enhancing, necrosis = (means * jitter).astype(np.float32)
        image = white * tissue["white"] + grey * tissue["grey"] + fluid * tissue["fluid"]
        image += np.float32(DETAIL[modality]) * white * tissue["detail"]
        image += np.float32(CAPS[modality] * strength) * tissue["caps"]
        image *= 1 + 0.02 * texture
        tumour = (
            (parts["oedema"], oedema * (1 + 0.08 * coarse)),
            (parts["solid"], solid * (1 + 0.08 * coarse + 0.05 * texture)),
            (parts["enhancing"], enhancing * (1 + 0.10 * coarse + 0.06 * texture)),
            (parts["necrosis"], necrosis * (1 + 0.08 * coarse)),
        )
        for share, signal in tumour:
            image += share * (signal - image)
        image *= np.exp(0.04 * bias + 0.02 * random_field(rng, grid, 50.0))
        image = _slice_profile(image, rng, grid.spacing_mm)
        sigma = np.float32(rng.uniform(0.012, 0.03))
        real, imaginary = rng.standard_normal((2, *grid.size), dtype=np.float32)
        image = np.hypot(image + sigma * real, sigma * imaginary)
        images[modality] = image * np.float32(np.exp(rng.normal(np.log(600), 0.4)))
    return images


def _slice_profile(image: np.ndarray, rng: np.random.Generator, spacing_mm: float) -> np.ndarray:
    """Blur as of thicker slices: one image in four is a 2D acquisition of about 4 mm."""
    in_plane_mm, thick_mm = rng.uniform(0.3, 0.7), rng.uniform(1.2, 1.9)
    image = gaussian_filter(image, in_plane_mm / spacing_mm)
    return gaussian_filter1d(image, thick_mm / spacing_mm, axis=0) if rng.random() < 0.25 else image
