"""A generator that is one network: latents of an autoencoder, or whole volumes, from noise under tumour conditions."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..base.cli import log
from ..base.errors import UserError
from ..base.files import sha256_json
from ..base.provenance import code_digest
from ..base.seeds import seed_of
from ..models.build_autoencoder import Autoencoder, build_autoencoder
from ..study.generators import KINDS
from ..study.settings.synthesis import SynthesisSettings
from ..study.settings.training import TrainSettings
from ..training.devices import autocast
from ..training.model_files import build_for
from ..training.state import growth_digest, run_digest
from ..training.task import Task
from ..training.train_model import train_model
from .conditions import ConditionTable
from .generator import Generator, Request, Sample
from .hosts import Hosts
from .training_set import TrainingFiles, TrainingSet, read_training_set


@dataclass(frozen=True)
class NetworkGenerator(Generator):
    """What kinds with a network share.

    autoencoder : a `VoxelSpace` where the system has none
    network : makes latents
    scale : name -> (e, 1, 1, 1), "mean" also (e, D, h, w)
        The latents' mean and std, which were taken out for training; low and high, what a normalised one may be.
    """

    contract: dict
    conditions: ConditionTable
    device: torch.device
    settings: SynthesisSettings
    autoencoder: Autoencoder
    network: nn.Module
    scale: dict[str, Tensor]
    hosts: Hosts | None = None

    kind: ClassVar[str]
    network_block: ClassVar[str]
    """Block of the system's file that describes the network."""
    player: ClassVar[str]
    """Of the training task: whose weights are kept."""
    normalised: ClassVar[bool]
    """Volumes are learned with mean 0 and standard deviation 1 in each channel; else as they are, in [-1, 1]."""

    @classmethod
    @abstractmethod
    def build(cls, blocks: dict, shape: Sequence[int], names: Sequence[str]) -> nn.Module:
        """The network of a system with these blocks, for latents or volumes of `shape` (C, D, H, W) under conditions of these
        names."""

    @classmethod
    @abstractmethod
    def task(cls, blocks: dict, data: TrainingSet, conditions: Tensor, settings: TrainSettings, seed: int) -> Task:
        """Its training under normalised `conditions` (n, F). Raises UserError for a key or value that cannot be."""

    @abstractmethod
    def draw(self, conditions: Tensor, rngs: list[torch.Generator], bounds: tuple[Tensor, Tensor]) -> Tensor:
        """Normalised latents (B, e, D, h, w) for normalised conditions (B, F), an rng each.

        bounds: tensors (1, e, 1, 1, 1), the range of the training latents.
        """

    @classmethod
    def train(cls, config: dict, files: TrainingFiles, out: str | os.PathLike, state: str | os.PathLike) -> None:
        trained_by = KINDS[cls.kind].trained_by
        settings = TrainSettings.read(config[trained_by]["training"], f"{trained_by}.training")
        data = read_training_set(
            files, config["regions"], cls.normalised, settings.devices, config["foreground_channel"]
        )
        conditions = torch.from_numpy(data.conditions.normalise(data.conditions.rows)).float()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(config["seed"], "denoiser"))
            task = cls.task(config, data, conditions, settings, config["seed"])
        log.info(
            "generator %s: %.1f M parameters, %d training cases, %s %s",
            config["system"],
            sum(weight.numel() for weight in task.players[cls.player].module.parameters()) / 1e6,
            *(len(data.case_ids), "latents" if data.autoencoder else "volumes"),
            "x".join(map(str, data.scale["shape"])),
        )
        blocks = {name: config[name] for name in KINDS[cls.kind].trained}
        spec = {key: value for key, value in config[cls.network_block].items() if key != "training"}
        contract = data.contract | {
            "kind": "generator",
            "name": config["system"],
            "generator": {"kind": cls.kind, **blocks},
            "spec": spec,
            "autoencoder": data.autoencoder,
            "latent": data.scale,
            "features": data.conditions.describe(),
            **asdict(data.seen),
            "training": config[trained_by]["training"],
            "seed": config["seed"],
            "step_chosen_by": files.val.case_ids if files.val else [],
            "config_digest": sha256_json(config),
            "code_digest": code_digest(cls.__module__),
        }
        weights = {f"autoencoder.{name}": value for name, value in data.autoencoder_weights.items()}
        weights["features.table"] = torch.from_numpy(data.conditions.rows).float()
        if data.positional_mean is not None:
            weights["latent.mean"] = data.positional_mean
        train_model(
            task,
            settings,
            cls.player,
            contract,
            out=out,
            state=state,
            digest=run_digest(config, cls.__module__, *data.files),
            grows=growth_digest(config, cls.__module__, *data.files),
            prefix="network.",
            besides=weights,
        )

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike,
        weights: dict,
        contract: dict,
        settings: SynthesisSettings,
        device: torch.device,
        hosts: Hosts | None = None,
    ) -> NetworkGenerator:
        names = tuple(contract["features"]["names"])
        parts: dict[str, dict[str, Tensor]] = {"autoencoder": {}, "network": {}, "features": {}, "latent": {}}
        for key, value in weights.items():
            part, _, name = key.partition(".")
            parts.setdefault(part, {})[name] = value
        if list(parts["features"]) != ["table"] or set(parts["latent"]) - {"mean"} or len(parts) > 4:
            raise UserError(f"{folder}: the weights lack features.table, or hold unknown parts; train the model again")
        channels = len(contract["modalities"]), len(contract["masks"])
        shape = contract["latent"]["shape"]
        autoencoder = build_for(
            parts["autoencoder"],
            lambda: build_autoencoder(contract["autoencoder"], *channels, contract["grid"]),
            folder,
        )
        network = build_for(parts["network"], lambda: cls.build(contract["generator"], shape, names), folder)
        for module in (autoencoder, network):
            module.eval().requires_grad_(False).to(device)
        if "mean" in parts["latent"] and list(parts["latent"]["mean"].shape) != shape:
            raise UserError(f"{folder}: latent.mean has another shape than {shape}; train the model again")
        table = ConditionTable(names, parts["features"]["table"].double().numpy())
        scale = {key: torch.tensor(contract["latent"][key]).view(-1, 1, 1, 1) for key in ("mean", "std", "low", "high")}
        scale = {key: value.to(device) for key, value in (scale | parts["latent"]).items()}
        return cls(contract, table, device, settings, autoencoder, network, scale, hosts)

    def sample(self, requests: Sequence[Request]) -> Iterator[Sample]:
        for latent in self.latents(requests):
            yield self.decode(latent)

    def latents(self, requests: Sequence[Request]) -> Tensor:
        """Latents (B, e, D, h, w), in the autoencoder's own scale."""
        if any(request.host is not None for request in requests):
            raise UserError(f"{self.contract['name']} makes whole patients: it puts no tumour into a host")
        return self.drawn(np.stack([request.conditions for request in requests]), [request.rng for request in requests])

    @torch.inference_mode()
    def drawn(self, conditions: np.ndarray, rngs: list[torch.Generator], **options) -> Tensor:
        """Latents (B, e, D, h, w), in the autoencoder's own scale, for conditions (B, F); `options`: of `draw`."""
        wanted = torch.from_numpy(self.conditions.normalise(conditions)).float().to(self.device)
        with autocast(self.device, self.settings.precision):
            z = self.draw(wanted, rngs, (self.scale["low"][None], self.scale["high"][None]), **options)
        return z.float() * self.scale["std"] + self.scale["mean"]

    def standardised(self, latents: Tensor) -> Tensor:
        """Latents (B, e, D, h, w) in the autoencoder's own scale, as `draw` makes them."""
        return (latents - self.scale["mean"]) / self.scale["std"]

    @torch.inference_mode()
    def decode(self, latent: Tensor) -> Sample:
        """One latent (e, D, h, w), decoded."""
        with autocast(self.device, self.settings.precision):
            decoded = self.autoencoder.decode_volumes(latent[None], self.settings.slices_per_batch)
        image, masks = (value[0].float().cpu().numpy() for value in decoded)
        if not np.isfinite(image).all():
            what = "makes images whose values are no numbers: its training failed, or its folder is damaged"
            raise UserError(f"the generator {self.contract['name']} {what}. Train it again, at a lower learning_rate")
        return Sample.of(image, masks, self.contract["regions"])
