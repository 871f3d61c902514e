"""What a generator that copies its training cases would make: their latents, decoded as synthetic cases are.

A latent generator cannot copy better than its autoencoder can. The audit's power is its share of these cases caught.
"""

import os
from collections.abc import Iterator

import numpy as np

from ..base.errors import UserError
from ..diffusion.kinds import load_generator
from ..diffusion.synthesis import cut_to_foreground, foreground_of
from ..study.settings.synthesis import SynthesisSettings
from ..training.devices import default_device
from ..training.latents import latents_by_case

MOST_CASES = 20  # evenly spaced over the training cases: a share needs no more


def decoded_training_cases(
    model: str | os.PathLike, latents: str | os.PathLike, settings: SynthesisSettings
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Case id, image (M, D, H, W) in [-1, 1] and levels (D, H, W) of at most `MOST_CASES` training cases.

    model, latents : folders of the generator and of extract_latents
    settings : how they are decoded

    Raises UserError for damaged files, and for latents of other cases than the model was trained on.
    """
    generator = load_generator(model, settings, default_device())
    means, _ = latents_by_case(latents)
    if set(means) != set(generator.contract["training_case_ids"]):
        raise UserError(
            f"{latents} holds other cases than {model} was trained on: give the latents of its train subset"
        )
    case_ids = sorted(means)
    for place in np.unique(np.linspace(0, len(case_ids) - 1, min(len(case_ids), MOST_CASES)).round().astype(int)):
        made = generator.decode(means[case_ids[place]].to(generator.device))
        foreground = foreground_of(made, generator.contract["written"]["background"])
        yield (case_ids[place], *cut_to_foreground(made.image, made.levels, foreground))
