"""model.json as it must be: names, types, ranges, and what has to fit together, before anything of a model's folder is used.

A folder may have been carried here from anywhere: nothing in it becomes a path, and no number in it more memory than a case
takes.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from ..base.errors import UserError
from ..study.dataset import Names, Written
from ..study.generators import KINDS
from ..study.settings.autoencoder import autoencoder_of
from ..study.settings.base import Block, Digest, Fault, Name, Number, Seed, Unique, key, read_block
from ..study.voxels import FOREGROUND, MASK, Range
from ..study.voxels import Name as PartName

MOST_VOXELS = 2**28  # of a volume: a GiB as float32
Edges = Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=3, max_length=3)]
Spacing = Annotated[list[Annotated[Number, Field(gt=0, le=1000)]], Field(min_length=3, max_length=3)]
Shape = Annotated[list[Annotated[int, Field(ge=1, le=65_536)]], Field(min_length=4, max_length=4)]
Values = list[Annotated[Number, Field(ge=-1e6, le=1e6)]]  # of latents, which are about 1
Text = Annotated[str, Field(min_length=1, max_length=1000)]
OPEN = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False, protected_namespaces=())


class Grid(Block):
    size: Edges = key(unit="voxels", meaning="depth, height, width")
    spacing_mm: Spacing = key(unit="mm", meaning="along them")


class Trained(Block):
    """Which model it is, and whom it was trained on; step_chosen_by: cases whose loss chose the step that was kept."""

    kind: Literal["autoencoder", "generator"]
    name: Name
    weights_sha256: Digest
    training_case_ids: Annotated[list[Text], Field(min_length=1), Unique]
    training_patient_digests: list[Text] = Field(default_factory=list)
    training_mask_digests: list[Text] = Field(default_factory=list)
    step_chosen_by: list[Text] = Field(default_factory=list)


class Contract(Trained):
    """What the contracts of all models say; each may say more."""

    model_config = OPEN

    modalities: Names
    regions: Names
    masks: Names
    written: Written
    grid: Grid
    value_range: Range
    started_from: list[Trained] = Field(default_factory=list)
    seed: Seed
    config_digest: Text
    code_digest: Text

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if math.prod(self.grid.size) > MOST_VOXELS:
            raise Fault(["grid", "size"], [160, 192, 192], f"is {self.grid.size}: more than a worker can hold")
        if self.masks not in (self.regions, [FOREGROUND, *self.regions]):
            raise Fault(["masks"], self.regions, f"is {self.masks}, which are not the regions {self.regions}")
        if missing := [name for name in (*self.modalities, MASK) if name not in self.written.parts]:
            raise Fault(["written", "parts"], {missing[0]: missing[0]}, f"lacks {missing[0]}")
        if len(self.written.labels) <= len(self.regions):
            raise Fault(["written", "labels"], [0, 1], f"has no label for each of the regions {self.regions}")
        return self


class AutoencoderContract(Contract):
    spec: dict[str, Any]
    latent_shape: Shape

    @model_validator(mode="after")
    def _of_the_spec(self) -> Self:
        _check_shape(self.latent_shape, self.spec, self.grid.size, ["latent_shape"])
        return self


class Latent(Block):
    shape: Shape
    mean: Values | None = None
    std: Values | None = None
    low: Values | None = None
    high: Values | None = None

    @model_validator(mode="after")
    def _a_value_a_channel(self) -> Self:
        for name in ("mean", "std", "low", "high"):
            values = getattr(self, name)
            if values is not None and len(values) != self.shape[0]:
                raise Fault([name], [0.0] * self.shape[0], f"must have {self.shape[0]} numbers, one a channel")
        if self.std is not None and min(self.std) <= 0:
            raise Fault(["std"], [1.0] * self.shape[0], "must be above 0")
        return self


class Features(Block):
    model_config = OPEN

    names: Annotated[list[PartName], Field(min_length=1), Unique]


class GeneratorContract(Contract):
    spec: dict[str, Any]
    generator: dict[str, Any]
    autoencoder: dict[str, Any] | None
    latent: Latent
    features: Features
    foreground_volume_ml: Annotated[list[Annotated[Number, Field(gt=0)]], Field(min_length=2, max_length=2)]
    min_largest_piece_fraction: Annotated[Number, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        if (name := self.generator.get("kind")) not in list(KINDS):
            raise Fault(["generator", "kind"], "diffusion", f"is {name!r}, but must be one of {', '.join(KINDS)}")
        kind = KINDS[str(name)]
        if odd := sorted(set(kind.trained) ^ (set(self.generator) - {"kind"})):
            raise Fault(["generator"], {"kind": name}, f"lacks {odd[0]}, or has it without being of a kind that does")
        for block, model in kind.trained.items():
            read_block(model, self.generator[block], f"generator.{block}", title="model")
        if kind.trained_by and None in (self.latent.mean, self.latent.std, self.latent.low, self.latent.high):
            raise Fault(["latent"], {}, "lacks mean, std, low or high")
        channels = len(self.modalities) + len(self.masks)
        _check_shape(self.latent.shape, self.autoencoder, self.grid.size, ["latent", "shape"], channels)
        return self


def _check_shape(
    shape: list[int], autoencoder: dict[str, Any] | None, size: list[int], place: list[str], channels: int = 0
) -> None:
    """Raise Fault unless latents of `shape` (e, d, h, w) are those of volumes of `size` (D, H, W); channels: of volumes."""
    expected = [channels, *size]
    if autoencoder is not None:
        block = autoencoder_of(autoencoder)
        if block.kind == "vae_3d":
            expected = [edge // math.prod(block.strides) for edge in size]
        else:
            expected = [size[0], *(edge // math.prod(block.strides) for edge in size[1:])]
        expected = [block.latent_channels, *expected]
    if shape != expected:
        raise Fault(place, expected, f"is {shape}, which does not go with grid and autoencoder")


SEEN = {
    "case_id": ("training_case_ids", "step_chosen_by"),
    "patient_digest": ("training_patient_digests",),
    "mask_digest": ("training_mask_digests",),
}
KINDS_OF_MODELS: dict[str, type[Contract]] = {"autoencoder": AutoencoderContract, "generator": GeneratorContract}


def seen_by(contract: Mapping[str, Any]) -> dict[str, set[str]]:
    """Column of a case table -> what a model, or what its training started from, has seen of it; a model that was made before
    contracts told patients and masks is known by case ids alone."""
    models = [contract, *contract.get("started_from", [])]
    return {
        column: {entry for model in models for name in names for entry in model.get(name, [])}
        for column, names in SEEN.items()
    }


def check_contract(contract: Any, path: object) -> None:
    """Raise UserError, which names the file and the key, unless `contract` is what model.json must hold."""
    kind = contract.get("kind") if isinstance(contract, dict) else None
    if not isinstance(kind, str) or kind not in KINDS_OF_MODELS:
        raise UserError(f"{path} is no model contract: its kind is {kind!r:.100}")
    model = KINDS_OF_MODELS[kind]
    needed = [name for name, field in model.model_fields.items() if field.is_required()]
    if missing := [name for name in needed if name not in contract]:
        raise UserError(f"{path} lacks {', '.join(missing)}: train the model again")
    try:
        read_block(model, contract, title=str(path))
    except UserError as error:
        said = str(error).partition(" Write, for example:")[0]  # a contract is nothing to be written by hand
        where = "" if str(path) in said else f"{path}: "
        raise UserError(f"{where}{said} Copy the model's folder again, or train the model again") from None
