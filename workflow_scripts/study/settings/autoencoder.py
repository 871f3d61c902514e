"""The autoencoders of slices and of volumes, how they are trained, and how cases are encoded."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from .base import Block, Channels, Count, Digest, Fault, Name, Number, Positive, Seed, Share, Weight, key
from .training import TrainSettings

Strides = Annotated[list[Annotated[int, Field(ge=1, le=8)]], Field(min_length=1)]
Patch = Annotated[list[Count], Field(min_length=3, max_length=3)]
EvenWidth = Annotated[int, Field(ge=4, multiple_of=2)]


class Loss(Block):
    l1: Weight = key(1.0, "weight", "absolute error of the images")
    ssim: Weight = key(1.0, "weight", "1 - SSIM of the images")
    tumour: Weight = key(
        0.5, "weight", "absolute error of the images inside the tumour, the rings between nested regions counted alike"
    )
    kl: Weight = key(1.0e-6, "weight", "Kullback-Leibler term")
    dice: Weight = key(1.0, "weight", "soft Dice of the mask channels")
    bce: Weight = key(1.0, "weight", "binary cross-entropy of the mask channels")
    perceptual: Weight = key(0.0, "weight", "distance of network features; 0 loads no network")
    perceptual_weights: Annotated[str, Field(min_length=1)] = key(
        "package", "`package` or path", "of that network, EfficientNet-Lite0"
    )
    perceptual_sha256: Digest | None = key(None, "", "of the weights file, where one is given")

    @model_validator(mode="after")
    def _teaches_intensities(self) -> Self:
        if not self.l1 and not self.ssim:
            raise Fault(["l1"], 1.0, "is 0, and so is ssim: nothing would teach intensities")
        return self


class Discriminator(Block):
    channels: Channels = key([64, 128, 256, 512], "channels", "of each layer of the patch discriminator")
    weight: Weight = key(0.01, "weight", "of the adversarial term in the autoencoder's loss")
    start_step: Seed = key(5000, "steps", "from which that term counts; the discriminator learns from the first on")
    learning_rate: Positive = key(1.0e-4, "", "of the discriminator")


class Augmentation(Block):
    """How a case is changed; each amount is drawn evenly between its limits."""

    flip: bool = key(True, "", "half of the copies are mirrored left to right, one of them with no other change")
    rotation_degrees: Annotated[Number, Field(ge=0, le=45)] = key(8.0, "degrees", "largest turn about each axis")
    scaling: Annotated[Number, Field(ge=0, lt=0.5)] = key(0.08, "share", "largest change of all lengths")
    shift_mm: Weight = key(4.0, "mm", "largest shift along each axis")
    gamma: Annotated[Number, Field(ge=0, lt=1)] = key(
        0.15, "share", "largest change of the exponent of the foreground's intensities"
    )


class _Autoencoder(Block):
    name: Name
    channels: Channels = key([128, 256, 512, 512], "channels", "of each level")
    strides: Strides = key(
        [1, 2, 2, 2],
        "",
        "into each level; their product is the reduction of height and width, and of depth with `vae_3d`",
    )
    latent_channels: Count = key(6, "channels", "of the latent")
    loss: Loss = key(Loss(), "", "weight of each term; 0 leaves it out")
    training: TrainSettings

    @model_validator(mode="after")
    def _a_stride_a_level(self) -> Self:
        if len(self.strides) != len(self.channels):
            fitting = [1] + [2] * (len(self.channels) - 1)
            raise Fault(["strides"], fitting, "must have one entry for each of channels")
        return self


class SliceVae(_Autoencoder):
    """An autoencoder of slices."""

    name: Name = key("slice_vae", "", "folder of the trained autoencoder")
    kind: Literal["slice_vae"] = key("slice_vae", "", "network: of slices (`slice_vae`) or of volumes (`vae_3d`)")
    position: Literal["fraction", "mm"] = key(
        "fraction", "", "what the slice-position embedding sees: of the depth, or mm"
    )
    embedding_dim: EvenWidth = key(128, "features", "of the slice-position embedding")
    empty_slices_kept: Share = key(0.1, "share", "of the slices without foreground that stays in training")
    tumour_slices: Share = key(
        0.5, "share", "of each batch that is drawn from the slices with tumour; the others are drawn from all slices"
    )
    dropped_regions: Share = key(
        0.25,
        "share",
        "of the slices of training whose mask loses its innermost region, or some of them, while the image keeps them: so the "
        "network reads masks, and does not guess them from the image",
    )
    augmentation: Augmentation | None = key(
        None,
        "block or null",
        "of the slices of training, within their plane: half of them are mirrored, another half turned about the depth axis, "
        "scaled, shifted and given another contrast in each modality; null: slices as they are",
    )
    training: TrainSettings = key(unit="", meaning="a batch holds slices", defaults={"batch_size": 32})


class Vae3d(_Autoencoder):
    """An autoencoder of volumes."""

    name: Name = key("vae_3d", "", "folder of the trained autoencoder")
    kind: Literal["vae_3d"] = key("vae_3d", "", "network: of slices (`slice_vae`) or of volumes (`vae_3d`)")
    patch_size: Patch | None = key(
        [48, 96, 96], "voxels", "depth, height, width trained on at once; null: whole volumes"
    )
    discriminator: Discriminator | None = key(Discriminator(), "", "patch discriminator; null: none")
    training: TrainSettings = key(unit="", meaning="a batch holds patches", defaults={"batch_size": 2})


Autoencoder = Annotated[SliceVae | Vae3d, Field(discriminator="kind")]


class Latents(Block):
    slices_per_batch: Count = key(32, "slices", "encoded at once; a 3D autoencoder encodes whole volumes")
    positional_mean: bool = key(
        False,
        "",
        "take the mean over the train subset out at each place of the latent, not one for each channel; it is put back "
        "before decoding",
    )
    variants: Annotated[int, Field(ge=1, le=1000)] = key(
        1,
        "latents a case",
        "the case itself and changed copies, of which generators over latents learn; 1: itself alone",
    )
    augmentation: Augmentation = key(Augmentation(), "", "how the copies are changed")


class _Stage(Block):
    """What the program that trains an autoencoder is told besides."""

    modalities: list[str] | None = key(None, "", "image channels that the volumes must hold; null: whatever they hold")
    regions: list[str] = key(meaning="mask channels of the volumes")
    foreground_channel: bool = key(True, "", "one more mask channel, where the data set has a background")
    seed: Seed = key(0, "", "of weights and batches")


class SliceVaeStage(SliceVae, _Stage):
    """The training of an autoencoder of slices."""


class Vae3dStage(Vae3d, _Stage):
    """The training of an autoencoder of volumes."""


class LatentsStage(Latents):
    """The encoding of the train subset."""

    seed: Seed = key(0, "", "of the changed copies")


class _One(Block):
    autoencoder: Autoencoder


class _OneStage(Block):
    autoencoder: Annotated[SliceVaeStage | Vae3dStage, Field(discriminator="kind")]


def autoencoder_of(block: Any) -> SliceVae | Vae3d:
    """The autoencoder that a mapping holds, by its kind. Raises UserError."""
    return _One.read({"autoencoder": block}).autoencoder


def autoencoder_stage(config: Any) -> SliceVaeStage | Vae3dStage:
    """What the program that trains an autoencoder is told, by the kind. Raises UserError."""
    return _OneStage.read({"autoencoder": config}).autoencoder
