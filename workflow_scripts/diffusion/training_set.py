"""What a generator learns from: the latents of the train subset, or its volumes, and the conditions of its tumours."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..base.errors import UserError
from ..base.files import read_tsv
from ..cohort.subset import Subset
from ..cohort.tumour_table import measure_case
from ..models.build_autoencoder import build_autoencoder
from ..study.conditions import condition_names
from ..training.augmentation import N_LABELS
from ..training.case_volumes import CaseVolumes, common_grid, mask_names
from ..training.latents import read_latents
from ..training.model_files import load_model, load_weights
from .conditions import ConditionTable, Seen

BOUND_MARGIN = 0.1  # of the training latents' range, at either end
SLICES = 32  # of validation cases, encoded at once


@dataclass(frozen=True)
class TrainingFiles:
    """What a generator sees of the train subset: its latents, or its volumes, or a model that has learned from it.

    conditions: conditions.tsv of measure_tumours; latents, autoencoder: folders of extract_latents and of the
    autoencoder that made them; train: the subset itself; val: the validation subset, where a step is chosen by it;
    model: folder of a trained generator.
    """

    conditions: Path
    latents: Path | None = None
    autoencoder: Path | None = None
    train: Subset | None = None
    val: Subset | None = None
    model: Path | None = None

    def __post_init__(self):
        if self.model is not None:
            if self.train or self.latents or self.autoencoder:
                raise UserError("give --model alone: what it was trained on is in its folder")
        elif (self.train is None) == (self.latents is None) or (self.latents is None) != (self.autoencoder is None):
            raise UserError("give either --latents and --autoencoder, or --train, or --model")


class TrainingLatents(Protocol):
    """The training cases as one array (n, C, D, h, w), all in memory or read as they are asked for.

    100 latents of the paper's 6x96x24x24 take 133 MB; 100 volumes of 7x144x192x192 are 7 GB on disk.
    """

    @property
    def shape(self) -> Sequence[int]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, numbers: Tensor) -> Tensor:
        """The cases of these numbers: (B, C, D, h, w) float32."""


@dataclass(frozen=True)
class Variants:
    """The changed copies of the training cases, and the cases themselves as the first of them.

    latents: (n, v, e, D, h, w), normalised; conditions: (n, v, F), as measured on each; labels: (n, v, L), see
    `training.augmentation`.
    """

    latents: Tensor
    conditions: Tensor
    labels: Tensor


@dataclass(frozen=True)
class TrainingSet:
    """The training cases, in the order of their ids.

    latents : latents or volumes with mean 0 and standard deviation 1 in each channel over the train subset; volumes for
        a GAN as they are, in [-1, 1]
    scale : the contract's ``latent`` block: shape; mean and std of each channel, which were taken out; low and high,
        what an estimate of a clean latent may be
    conditions : ConditionTable, rows in the order of `case_ids`
    seen : Seen, what gates go by beside them
    contract : what the generator's contract takes over: modalities, regions, masks, written, grid, value_range,
        training_case_ids
    files : all that was read
    autoencoder : spec of the autoencoder, None for volumes; autoencoder_weights: its weights, none for volumes
    positional_mean : (e, D, h, w) or None; what was taken out of the latents in place of the scale's mean
    variants : changed copies of the cases
    held_out : (latents (n, e, D, h, w) in the scale of these, conditions (n, F)) or None, of the validation cases, by
        which a step is chosen
    """

    case_ids: list[str]
    latents: TrainingLatents
    scale: dict
    conditions: ConditionTable
    seen: Seen
    contract: dict
    files: list[Path]
    autoencoder: dict | None = None
    autoencoder_weights: dict[str, Tensor] = field(default_factory=dict)
    positional_mean: Tensor | None = None
    variants: Variants | None = None
    held_out: tuple[Tensor, np.ndarray] | None = None


def read_training_set(
    files: TrainingFiles, regions: Sequence[str], normalised: bool, copies: int = 1, foreground_channel: bool = True
) -> TrainingSet:
    """The training set in `files`.

    regions : masks to generate
    normalised : take out mean and standard deviation of each channel of volumes, too; else they stay in [-1, 1]
    copies : processes that hold volumes at once
    foreground_channel : volumes have it, where there is a background; latents have what their autoencoder has

    Raises UserError if a file is missing or damaged, if the parts do not belong together (see `read_latents`), or if
    the cases differ in grid or modalities.
    """
    if files.train is not None:
        if files.val is not None:
            raise UserError("diffusion.held_out_every_steps goes with an autoencoder alone: set it to null")
        return _volumes(files.train, files.conditions, regions, normalised, copies, foreground_channel)
    assert files.latents is not None and files.autoencoder is not None, "TrainingFiles has seen to it"
    weights, contract = load_model(files.autoencoder)
    if contract["kind"] != "autoencoder":
        raise UserError(f"{files.autoencoder} holds a {contract['kind']}, not an autoencoder")
    if contract["regions"] != list(regions):
        raise UserError(f"{files.autoencoder} was trained on the regions {contract['regions']}, not {list(regions)}")
    encoded = read_latents(files.latents, files.autoencoder, contract)
    case_ids, mean, std = list(encoded.by_case), encoded.mean, encoded.std
    table, seen = read_conditions(files.conditions, case_ids, regions)
    latents = torch.stack(list(encoded.by_case.values()))[:, None]  # (n, 1, e, D, h, w)
    if encoded.variants is not None:
        latents = torch.cat([latents, encoded.variants[0]], dim=1)  # (n, v, e, D, h, w)
    taken = mean[:, None, None, None]
    if encoded.positional_mean:
        taken = latents.mean(dim=(0, 1))  # (e, D, h, w)
        std = (latents - taken).double().square().mean(dim=(0, 1, 3, 4, 5)).sqrt().float()
        if not (std > 0).all():
            raise UserError("latents.positional_mean: nothing is left of the latents of so few cases: set it to false")
    latents = (latents - taken) / std[:, None, None, None]
    variants = None
    if encoded.variants is not None:
        first = torch.from_numpy(table.rows).float()[:, None], torch.zeros(len(case_ids), 1, N_LABELS)
        both = [torch.cat(pair, dim=1) for pair in zip(first, encoded.variants[1:], strict=True)]
        variants = Variants(latents, *both)
    low, high = latents.amin(dim=(0, 1, 3, 4, 5)), latents.amax(dim=(0, 1, 3, 4, 5))
    margin = BOUND_MARGIN * (high - low)
    bounds = {"mean": mean, "std": std, "low": low - margin, "high": high + margin}
    shared = ("modalities", "regions", "masks", "written", "grid", "value_range")
    whose = ("training_case_ids", "training_patient_digests", "training_mask_digests", "started_from")
    return TrainingSet(
        case_ids,
        latents[:, 0],
        {"shape": contract["latent_shape"]} | {key: value.tolist() for key, value in bounds.items()},
        table,
        seen,
        {key: contract[key] for key in (*shared, *whose) if key in contract},
        [
            *(files.conditions, files.latents / "latents.safetensors"),
            *(files.latents / "latents.json", files.autoencoder / "model.json"),
            *([files.val.manifest] if files.val else []),
        ],
        contract["spec"],
        weights,
        taken if encoded.positional_mean else None,
        variants,
        _held_out(files.val, contract, weights, taken, std) if files.val else None,
    )


def _held_out(
    val: Subset, contract: dict, weights: dict[str, Tensor], mean: Tensor, std: Tensor
) -> tuple[Tensor, np.ndarray]:
    """Latents of the validation cases, encoded and scaled as those of the training cases, and their conditions."""
    regions = contract["regions"]
    channels = len(contract["modalities"]), len(contract["masks"])
    module = build_autoencoder(contract["spec"], *channels, contract["grid"]).eval()
    load_weights(module, weights, "the autoencoder")
    volumes = CaseVolumes(val.store, val.case_ids, contract["masks"])
    latents = torch.cat([module.encode_volumes(volumes[[number]], SLICES) for number in range(len(volumes))])
    measured = [measure_case(val.store, case_id, regions) for case_id in volumes.case_ids]
    rows = np.array([[row[name] for name in condition_names(regions)] for row in measured])
    return (latents - mean) / std[:, None, None, None], rows


class NormalisedVolumes:
    """Volumes with mean 0 and standard deviation 1 in each channel: a small tumour weighs as much as the image.

    volumes : of the train subset
    """

    def __init__(self, volumes: CaseVolumes):
        self.volumes = volumes
        total = squares = torch.zeros(volumes.shape[1], dtype=torch.float64)
        count = 0
        for number in range(len(volumes)):
            x = volumes[[number]][0].flatten(1).double()  # (C, D h w)
            total, squares, count = total + x.sum(dim=1), squares + x.square().sum(dim=1), count + x.shape[1]
        self.mean = (total / count).float()
        self.std = (squares / count - (total / count) ** 2).clamp(min=0).sqrt().float()
        if not (self.std > 0).all():
            raise UserError("a modality or a region is the same everywhere in all training volumes: leave it out")

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, C, D, H, W)"""
        return self.volumes.shape

    def __len__(self) -> int:
        return len(self.volumes)

    def __getitem__(self, numbers: Sequence[int] | Tensor) -> Tensor:
        """The cases of these numbers: (B, C, D, H, W) fp32."""
        mean, std = (value.view(-1, 1, 1, 1) for value in (self.mean, self.std))
        return (self.volumes[numbers] - mean) / std


def _volumes(
    train: Subset, conditions: Path, regions: Sequence[str], normalised: bool, copies: int, foreground_channel: bool
) -> TrainingSet:
    """The cases of the train subset, as the preprocessed volumes themselves."""
    store, case_ids = train.store, train.case_ids
    shared = common_grid(store, case_ids)
    masks = mask_names(regions, shared["written"]["background"], foreground_channel)
    volumes = CaseVolumes(store, case_ids, masks, copies)
    data: TrainingLatents = volumes
    mean, std = torch.zeros(data.shape[1]), torch.ones(data.shape[1])
    if normalised:
        data = NormalisedVolumes(volumes)
        mean, std = data.mean, data.std
    scale = {"mean": mean, "std": std, "low": (-1.0 - mean) / std, "high": (1.0 - mean) / std}
    return TrainingSet(
        case_ids,
        data,
        {"shape": list(data.shape[1:])} | {key: value.tolist() for key, value in scale.items()},
        *read_conditions(conditions, case_ids, regions),
        shared | {"regions": list(regions), "masks": masks, "value_range": [-1, 1]} | train.trained_on(),
        [conditions, train.manifest],
    )


def read_conditions(
    path: str | os.PathLike, case_ids: list[str], regions: Sequence[str]
) -> tuple[ConditionTable, Seen]:
    """The tumour conditions of the cases, and what else a gate goes by."""
    table: pd.DataFrame = read_tsv(path)
    again = "run `snakemake -R measure_tumours`"
    names = condition_names(regions)
    missing = [
        name for name in ("case_id", *names, "foreground_volume_ml", "largest_piece_fraction") if name not in table
    ]
    if missing:
        raise UserError(f"{path} lacks the columns {', '.join(missing)}: {again}")
    if sorted(table["case_id"]) != case_ids:
        raise UserError(f"{path} is about other cases than the training set: {again}")
    table = table.set_index("case_id").loc[case_ids]
    rows = table[names].to_numpy(np.float32).astype(np.float64)  # as the model file keeps them
    foreground = table["foreground_volume_ml"]
    seen = Seen([float(foreground.min()), float(foreground.max())], float(table["largest_piece_fraction"].min()))
    return ConditionTable(tuple(names), rows), seen
