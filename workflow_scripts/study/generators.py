"""The kinds of generators: where the code of each is, and which blocks of a system's file it has. No torch.

To add one: a module with a `diffusion.generator.Generator`, and a line in `KINDS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import create_model

from ..base.errors import UserError
from .settings.base import Block, Name, Seed, key
from .settings.generator import Conditions, Denoiser, Diffusion, Editing, Gan, Mix, Sampler, check_sampling

AUGMENTATION_ONLY = "for augmentation, not for release"
"""What is said of a case that is made in a training patient, wherever it is listed, written or shown."""
USE = "use"
"""Column of tables, and key of sidecars, that says it."""
EXTERNAL = "external"
"""The kind of a system whose cases somebody else made, and what is said of where such a case is from."""
PROVENANCE = "provenance"
"""Column of tables, and key of sidecars, that says where a case is from that this study has not made."""


@dataclass(frozen=True)
class Kind:
    """What a system of this kind has in its file.

    module, name : of its class, below `workflow_scripts`: the rules read the code of the system's own kind and no other's
    trained : the blocks that decide what is learned, by name
    trained_by : name of that of them which holds `training`; None: nothing is learned
    sampled : the blocks that decide how cases are drawn, by name
    drawn_with : kind of the other system whose trained model it draws with, and which `trained` is taken from; None: its own
    latents : whether it may work on the latents of an autoencoder; else on voxels alone
    hosts : whether it puts tumours into patients of the train subset, whose healthy tissue its cases then share on purpose
    donors : whether those tumours are patients' too
    external : whether its cases are read from a folder: there is no class, nothing is trained and nothing is sampled
    check : raises Fault where the blocks, given by name, do not go together
    """

    module: str
    name: str
    trained: Mapping[str, type[Block]] = field(default_factory=dict)
    trained_by: str | None = None
    sampled: Mapping[str, type[Block]] = field(default_factory=dict)
    drawn_with: str | None = None
    latents: bool = True
    hosts: bool = False
    donors: bool = False
    external: bool = False
    check: Callable[[Mapping[str, Any]], None] = lambda blocks: None

    @property
    def blocks(self) -> dict[str, type[Block]]:
        """All of them."""
        return {**self.trained, **self.sampled}

    @property
    def origins(self) -> list[str]:
        """Columns that say which training cases one of its cases is made of."""
        return ["host"] * self.hosts + ["donor"] * self.donors


_DIFFUSION: dict[str, type[Block]] = {"denoiser": Denoiser, "diffusion": Diffusion, "conditions": Conditions}
KINDS = {
    "diffusion": Kind(
        "diffusion.denoising", "Denoising", _DIFFUSION, "diffusion", {"sampler": Sampler}, check=check_sampling
    ),
    "gan": Kind("diffusion.gan", "Gan", {"gan": Gan}, "gan", latents=False),
    "carvemix": Kind("mixing.carvemix", "CarveMix", {"mix": Mix}, latents=False, hosts=True, donors=True),
    "editing": Kind(
        "mixing.tumour_editing",
        "TumourEditing",
        _DIFFUSION,
        sampled={"sampler": Sampler, "editing": Editing},
        drawn_with="diffusion",
        hosts=True,
        check=check_sampling,
    ),
    EXTERNAL: Kind("", "", latents=False, external=True),
}
"""`kind` of a system's file -> what is known of it."""


def is_external(system: Mapping[str, Any]) -> bool:
    """Whether the cases of a system, as `System.plain` has it, are read from a folder."""
    return KINDS[system["kind"]].external


def starts(system: Mapping[str, Any]) -> dict[str, str]:
    """Block that trains -> the folder of the model that its training starts from, of a system as `System.plain` has it."""
    names = filter(None, ("autoencoder", KINDS[system["kind"]].trained_by))
    folders = {name: (system.get(name) or {}).get("training", {}).get("start_from") for name in names}
    return {name: folder for name, folder in folders.items() if folder}


class GeneratorTraining(Block):
    """What the program that trains a generator is told, but for the blocks of its kind."""

    system: Name = key(meaning="name of the generator")
    kind: Name = key("diffusion", "", "of generator")
    regions: list[str] = key(meaning="mask channels")
    foreground_channel: bool = key(
        True,
        "",
        "of volumes, one more mask channel, where the data set has a background; latents have their autoencoder's",
    )
    seed: Seed = key(0, "", "of weights and batches")


def read_training(config: Mapping[str, Any]) -> GeneratorTraining:
    """The settings of a generator's training, with the blocks that its kind learns by. Raises UserError."""
    known = [kind for kind, what in KINDS.items() if not what.external]
    if (name := config.get("kind", "diffusion")) not in known:
        raise UserError(f"config: kind is {name!r}, but must be one of {', '.join(known)}")
    blocks: dict[str, Any] = {
        name: (block, key({}, validate_default=True)) for name, block in KINDS[name].trained.items()
    }
    model = create_model("GeneratorTraining", __base__=GeneratorTraining, **blocks)
    return model.read(config)
