"""What makes cases: a denoiser with the way it diffuses and is sampled, a GAN, or a mix of training cases."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ..conditions import SHAPE_CONDITIONS
from .autoencoder import EvenWidth
from .base import Block, Channels, Count, Fault, Number, Positive, Share, Unique, Weight, key
from .training import TrainSettings

Beta = Annotated[Number, Field(gt=0, lt=1)]
SAMPLERS = {"dpmpp_2m": False, "ddim": False, "ddpm": False, "euler": True, "heun": True}
"""Name -> whether it goes with the schedule `flow`; the others go with those that keep the variance."""


class Denoiser(Block):
    kind: Literal["unet_3d", "unet_2d_tiled"] = key(
        "unet_3d", "", "network: in 3D, or in 2D over slices laid side by side"
    )
    channels: Channels = key([64, 128, 256, 512], "channels", "of the first convolution, then of each level")
    blocks_per_level: Annotated[int, Field(ge=1, le=64)] = key(2, "", "residual blocks")
    embedding_dim: EvenWidth = key(256, "features", "of time and tumour conditions")
    attention_levels: Annotated[list[Count], Unique] = key(
        [],
        "levels",
        "1 (finest) up to one less than there are channels: those whose blocks are followed by self-attention",
    )
    middle_attention: bool = key(False, "", "self-attention at the bottleneck")
    checkpointing: bool = key(False, "", "compute activations again for the gradient: less memory, a third more time")

    @model_validator(mode="after")
    def _levels_there_are(self) -> Self:
        count = len(self.channels) - 1  # the first width is that of the convolution before them
        if beyond := [level for level in self.attention_levels if level > count]:
            fitting = [level for level in self.attention_levels if level <= count]
            what = f"holds {beyond[0]}, but there are levels 1 to {count}"
            raise Fault(["attention_levels"], fitting, what)
        return self


FRACTIONS = "fractions"


class Conditions(Block):
    """What a denoiser is told of the tumour that is asked for."""

    scalars: Literal["all"] | Annotated[list[Literal[(*SHAPE_CONDITIONS, FRACTIONS)]], Unique] = key(  # type: ignore[valid-type]
        "all",
        "all, or names",
        "conditions that it is given as numbers; `fractions` stands for the shares of all inner regions",
    )
    noise: Weight = key(
        0.0,
        "standard deviations",
        "of Gaussian noise on those numbers in training: with few patients they name a patient, not a tumour",
    )
    spatial: Literal["none", "ellipsoid", "box"] = key(
        "none",
        "",
        "a map of the tumour's place and size beside the noisy latent, a channel for each nested region: an ellipsoid of "
        "the requested centroid, volume and proportions of the box, or the box itself",
    )
    spatial_jitter: Weight = key(
        0.0,
        "share of the radius",
        "standard deviation in training of the requested centroid, and of the logarithms of box and volume",
    )
    augmentation_label: bool = key(
        False,
        "",
        "tell it how a training case was turned, scaled, shifted and brightened (`latents.variants`), and at sampling that "
        "it is not",
    )


class Diffusion(Block):
    timesteps: Annotated[int, Field(ge=2, le=100_000)] = key(1000, "", "of the forward process")
    schedule: Literal["cosine", "scaled_linear", "flow"] = key(
        "cosine", "", "noise schedule; `flow`: the straight path of flow matching"
    )
    beta_start: Beta = key(0.002, "", "of scaled_linear")
    beta_end: Beta = key(0.02, "", "of scaled_linear")
    parameterization: Literal["v", "epsilon", "x0", "flow"] = key(
        "v", "", "what the denoiser predicts; `flow` and the schedule `flow` go together"
    )
    loss: Literal["mse", "l1"] = key("mse", "", "of that prediction")
    min_snr_gamma: Positive | None = key(
        None,
        "",
        "min-SNR weighting of the loss, 5 in its paper; null: none, so that the noisy steps, which decide where a tumour lies, count as much as the others",
    )
    condition_dropout: Annotated[Number, Field(ge=0, lt=1)] = key(
        0.1, "share", "of the samples trained with the null token"
    )
    depth_correlation: Annotated[Number, Field(ge=0, lt=1)] = key(
        0.0, "correlation", "of the noise from slice to slice, in training and sampling; 0: white"
    )
    held_out_every_steps: Count | None = key(
        None,
        "steps",
        "between measurements of the loss on the validation patients, whose lowest decides which weights are kept; null: "
        "the last ones are, and no validation patient is looked at",
    )
    training: TrainSettings = key(
        unit="", meaning="a batch holds volumes", defaults={"weight_decay": 0.01, "ema_half_life_steps": 2000}
    )

    @model_validator(mode="after")
    def _betas_rise(self) -> Self:
        if self.beta_start >= self.beta_end:
            what = f"is {self.beta_end:g}, but must be above beta_start, {self.beta_start:g}"
            raise Fault(["beta_end"], min(10 * self.beta_start, (1 + self.beta_start) / 2), what)
        if (self.parameterization == "flow") != self.is_flow:
            key, wanted = ("parameterization", "flow") if self.is_flow else ("schedule", "flow")
            what = f"is {getattr(self, key)}: `schedule: flow` and `parameterization: flow` go together alone"
            raise Fault([key], wanted, what)
        return self

    @property
    def is_flow(self) -> bool:
        """Whether this is flow matching, on the straight path."""
        return self.schedule == "flow"


class Sampler(Block):
    name: Literal[tuple(SAMPLERS)] = key(  # type: ignore[valid-type]
        "dpmpp_2m",
        "",
        "DPM-Solver++ 2M, DDIM or ancestral sampling; with the schedule `flow` Heun's or Euler's method",
    )
    steps: Count = key(20, "steps", "calls of the denoiser for a case (twice as many with guidance)")
    eta: Share = key(0.0, "", "of DDIM: 0 deterministic, 1 as DDPM")
    guidance: Weight = key(1.0, "factor", "classifier-free guidance; 1: off")


class Editing(Block):
    """A tumour generated inside a training patient."""

    host_tumour: Literal["heal", "resample", "keep"] = key(
        "heal",
        "",
        "the host's own tumour: is replaced by what lies opposite, mirrored; is sampled anew with the wanted one, and healed "
        "where that leaves tumour; or stays, and stays annotated",
    )
    margin_mm: Weight = key(12.0, "mm", "around a tumour in which the patient is sampled anew as well")
    fade_mm: Annotated[Number, Field(gt=0)] = key(8.0, "mm", "beyond it over which the change fades out")
    flips: bool = key(True, "", "mirror hosts left to right at random; false: for organs of one side")


def check_sampling(blocks: Mapping[str, Any]) -> None:
    """Raise Fault unless the sampler goes with the diffusion."""
    sampler, diffusion = blocks["sampler"], blocks["diffusion"]
    if sampler.steps > diffusion.timesteps:
        what = f"is {sampler.steps}, but diffusion.timesteps is {diffusion.timesteps}"
        raise Fault(["sampler", "steps"], diffusion.timesteps, what)
    if SAMPLERS[sampler.name] != diffusion.is_flow:
        fitting = [name for name, of_flow in SAMPLERS.items() if of_flow == diffusion.is_flow]
        what = f"is {sampler.name}, but with `schedule: {diffusion.schedule}` goes one of {', '.join(fitting)}"
        raise Fault(["sampler", "name"], fitting[0], what)


class Gan(Block):
    kind: Literal["gan_3d"] = key("gan_3d", "", "networks")
    z_dim: Count = key(2048, "", "width of the noise")
    stem_channels: Count = key(32, "channels", "into which the noise is unfolded on the coarsest grid")
    channels: Channels = key(
        [512, 256, 128, 64, 32],
        "channels",
        "of each level of the generator, coarsest first; each but the first doubles the size",
    )
    discriminator_channels: Channels = key(
        [32, 64, 128, 256, 512], "channels", "of each layer of the discriminator, finest first; each halves the size"
    )
    embedding_dim: Count = key(256, "features", "of the tumour conditions")
    discriminator_learning_rate: Positive | None = key(4.0e-4, "", "of the discriminator; null: the generator's")
    training: TrainSettings = key(
        unit="",
        meaning="a batch holds volumes",
        defaults={"batch_size": 2, "decay": "constant", "ema_half_life_steps": 2000},
    )


class Mix(Block):
    margin_mm: Weight = key(12.5, "mm", "around the donor's tumour that are cut out with it, at most: drawn evenly")
    inner_share: Share = key(
        0.0, "share", "of the tumour's depth by which the cut may lie inside it, in half of the cases; CarveMix: 0.5"
    )
    flips: bool = key(True, "", "mirror donors and hosts left to right at random; false: for organs of one side")
    host_tumour: Literal["keep", "heal"] = key(
        "keep", "", "the host's own tumour: stays, and stays annotated; or is replaced by what lies opposite, mirrored"
    )


class Published(Block):
    """What the paper prints for a part of the system, at its own setting."""

    part: Literal["autoencoder", "discriminator", "denoiser"] = key(meaning="of the system")
    size: Annotated[list[Count], Field(min_length=2, max_length=3)] = key(unit="voxels", meaning="of its input")
    batch: Count = key(unit="samples", meaning="at once")
    channels: Count = key(unit="channels", meaning="of the volumes")
    macs_g: Positive | None = key(unit="G", meaning="multiply-accumulates; null: not given")
    parameters_m: Positive | None = key(unit="M", meaning="parameters; null: not given")
    note: Annotated[str, Field(min_length=1)] | None = key(None, "", "below the table")
