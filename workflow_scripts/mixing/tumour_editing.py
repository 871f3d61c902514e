"""The kind of generator that lays tumours of a trained diffusion model into training patients. It learns nothing itself."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from ..base.errors import UserError
from ..base.files import sha256_json
from ..base.provenance import code_digest
from ..cohort.regions import levels_to_channels
from ..diffusion.denoising import Denoising
from ..diffusion.editing import Known, distance_mm, feather, laid_in, latent_region, voxels_of, wanted_tumour
from ..diffusion.generator import Request, Sample
from ..diffusion.hosts import Host, flipped
from ..diffusion.training_set import TrainingFiles
from ..study.generators import KINDS
from ..training.case_volumes import stack_channels
from ..training.curves import CURVE
from ..training.model_files import contract_digest, load_model, save_model
from ..training.state import without_harmless
from .healing import healed

LEFT_OVER = 0.05
"""Share of the host's own tumour that may still be decoded as tumour, away from the wanted one, where it was to heal."""


class TumourEditing(Denoising):
    """Known-region sampling in the latents of a host (see `editing`), by the denoiser of another system."""

    kind: ClassVar[str] = "editing"

    @classmethod
    def train(cls, config: dict, files: TrainingFiles, out: str | os.PathLike, state: str | os.PathLike) -> None:
        """Copy the model that `files` name, so that the folder holds all that it needs, with its loss curve.

        Raises UserError if there is none, or one of another kind or with other blocks than the system's.
        """
        if files.model is None:
            raise UserError("a system of kind editing draws with a trained model: give --model, its folder")
        weights, contract = load_model(files.model)
        kind = KINDS[cls.kind]
        blocks = without_harmless({"kind": kind.drawn_with} | {name: config[name] for name in kind.trained})
        if contract["kind"] != "generator" or without_harmless(contract["generator"]) != blocks:
            raise UserError(
                f"{files.model} is not the generator that {config['system']} draws with, or it was trained with other "
                "settings: run `snakemake generator`"
            )
        contract |= {
            "name": config["system"],
            "generator": blocks | {"kind": cls.kind},
            "made_from": {"name": contract["name"], "digest": contract_digest(files.model)},
            "config_digest": sha256_json(config),
            "code_digest": code_digest(cls.__module__),
        }
        del contract["weights_sha256"]
        Path(out).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(files.model) / CURVE, Path(out) / CURVE)
        save_model(out, weights, contract)

    def sample(self, requests: Sequence[Request]) -> Iterator[Sample]:
        for request in requests:
            if request.host is None:
                raise UserError(
                    f"{self.contract['name']} puts tumours into training patients: it needs a host for each"
                )
            yield self._edited(request.host, request)

    def describe(self) -> str:
        return f"{super().describe()}, in training patients, own tumour: {self.settings.editing.host_tumour}"

    def _edited(self, host: Host, request: Request) -> Sample:
        """The host with the tumour of the request."""
        editing, spacing_mm = self.settings.editing, self.contract["grid"]["spacing_mm"]
        if editing.flips and torch.rand(1, generator=request.rng) < 0.5:
            host = flipped(host)
        own, foreground = host.levels >= 1, host.foreground
        allowed = foreground & ~own if editing.host_tumour == "keep" else foreground
        asked = dict(zip(self.conditions.names, request.conditions.tolist(), strict=True))
        wanted, centroid = wanted_tumour(asked, allowed, spacing_mm)
        conditions = np.array([{**asked, **centroid}[name] for name in self.conditions.names])
        if editing.host_tumour == "resample":
            sample = self._sampled(host, foreground, wanted, own, conditions, request.rng)
            left = (sample.levels >= 1) & own & (distance_mm(wanted, spacing_mm) > editing.margin_mm)
            if left.sum() <= LEFT_OVER * own.sum():
                return sample
        host = host if editing.host_tumour == "keep" else healed(host)
        return self._sampled(host, foreground, wanted, np.zeros_like(own), conditions, request.rng)

    @torch.inference_mode()
    def _sampled(
        self,
        host: Host,
        foreground: np.ndarray,
        wanted: np.ndarray,
        healing: np.ndarray,
        conditions: np.ndarray,
        rng: torch.Generator,
    ) -> Sample:
        """The host, sampled anew where a tumour is `wanted` and where his own is `healing` (both bool (D, H, W))."""
        editing, spacing_mm = self.settings.editing, self.contract["grid"]["spacing_mm"]
        regions, size = self.contract["regions"], self.contract["latent"]["shape"][1:]
        around = editing.margin_mm, editing.fade_mm
        most = feather(wanted | healing, spacing_mm, *around)
        cells = latent_region(most > 0, size)
        kept = (host.levels >= 1) & ~healing
        cells &= ~latent_region(kept, size)
        x = stack_channels(host.image, host.levels, self.contract["masks"])[None].to(self.device)
        own = self.autoencoder.encode_volumes(x, self.settings.slices_per_batch)
        known = Known(self.standardised(own), torch.from_numpy(cells).to(self.device))
        edited = self.decode(self.drawn(conditions[None], [rng], known=known)[0])
        reconstructed = self.decode(own[0])
        tumour = (edited.levels >= 1) & voxels_of(cells, host.levels.shape)
        changed = np.maximum(feather(tumour, spacing_mm, 0.0, editing.fade_mm), feather(healing, spacing_mm, *around))
        weight = np.minimum(most, changed)  # a tumour ends where it is unwanted
        inside = (weight >= 0.5) & foreground & ~kept
        masks = np.where(inside, edited.masks, levels_to_channels(np.where(healing, 0, host.levels), regions))
        image = laid_in(host.image, edited.image, reconstructed.image, weight, foreground)
        sample = Sample.of(image, masks.astype(np.float32), regions)
        return replace(sample, foreground=foreground, kept=kept if kept.any() else None)
