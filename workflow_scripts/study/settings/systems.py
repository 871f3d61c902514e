"""The generative systems of config/systems/: each a composition of an autoencoder, a network and a sampler."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, create_model, model_validator

from ...base.errors import UserError
from ..generators import EXTERNAL, KINDS
from .autoencoder import Autoencoder, Latents, SliceVae, Vae3d
from .base import Block, Fault, Folder, Name, Number, key, read_block
from .files import config_files, merge, read_yaml
from .generator import Published
from .messages import fail, lines_of, shown

_SHARED = ("autoencoder", "latents")
"""What a system takes over with the autoencoder of another."""
_BLOCKS = {name: block for kind in KINDS.values() for name, block in kind.blocks.items()}


class System(Block):
    """config/systems/*.yaml, but for the blocks of its kind: `SYSTEM` has those too."""

    label: Annotated[str, Field(min_length=1)] = key(meaning="how tables and figures call the system")
    kind: Literal[tuple(KINDS)] = key(  # type: ignore[valid-type]
        "diffusion",
        "",
        "of generator: a denoiser, which diffuses or flows, or a GAN; it has blocks of its own; where `cases` is set, "
        "`external`",
    )
    scale: Annotated[Number, Field(gt=0, le=64)] = key(
        1.0, "factor", "on all widths of the system: less than 1 shrinks it for small machines and tests"
    )
    autoencoder: Autoencoder | None = key(
        None, "block, name or null", "its own, the system whose autoencoder it shares, or null: it works on voxels"
    )
    generator: Name | None = key(
        None, "name or null", "`kind: editing`: the system whose trained model it draws with, autoencoder and all"
    )
    cases: Folder | None = key(
        None,
        "path or null",
        "`kind: external`: folder of images with masks that somebody else's generator made, named as the data set's own, "
        "or written by this workflow; nothing is trained",
    )
    latents: Latents = key(Latents(), "", "how training cases are encoded")
    published: list[Published] = key(
        [], "list", "what the paper prints for parts of the system, at its own setting: for the compute table alone"
    )

    @model_validator(mode="before")
    @classmethod
    def _blocks_of_its_kind(cls, data: Any) -> Any:
        kind = KINDS.get(str(data.get("kind", "diffusion"))) if isinstance(data, Mapping) else None
        return {name: {} for name in kind.blocks} | dict(data) if kind else data

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        kind = KINDS[self.kind]
        blocks = {name: getattr(self, name) for name in _BLOCKS if getattr(self, name) is not None}
        if foreign := sorted(set(blocks) - set(kind.blocks)):
            raise Fault([foreign[0]], None, f"does not go with `kind: {self.kind}`")
        if missing := sorted(set(kind.blocks) - set(blocks)):
            raise Fault([missing[0]], {}, f"is missing: `kind: {self.kind}` needs it")
        if self.autoencoder is not None and not kind.latents:
            raise Fault(["autoencoder"], None, f"does not go with `kind: {self.kind}`, which works on voxels")
        if (self.generator is not None) != (kind.drawn_with is not None):
            wanted, what = ("slice_ldm", "is missing") if kind.drawn_with else (None, "is set")
            raise Fault(["generator"], wanted, f"{what}: it goes with `kind: editing`, and only with it")
        if (self.cases is not None) != kind.external:
            wanted, what = ("/data/their_cases", "is missing") if kind.external else (None, "is set")
            raise Fault(["cases"], wanted, f"{what}: it goes with `kind: {EXTERNAL}`, and only with it")
        if self.cases is not None and not Path(self.cases).is_dir():
            raise Fault(["cases"], "/data/their_cases", f"{self.cases!r} is no folder that can be read")
        kind.check(blocks)
        return self

    @property
    def training(self) -> Any:
        """Of the network that makes cases; None where nothing is learned."""
        trained_by = KINDS[self.kind].trained_by
        return getattr(self, trained_by).training if trained_by else None

    def plain(self) -> dict[str, Any]:
        """As mappings and lists, without the blocks that this system does not have."""
        absent = {name for name in _BLOCKS if getattr(self, name) is None}
        return self.model_dump(exclude=absent | (set() if self.autoencoder else {"latents"}))


_OPTIONAL: dict[str, Any] = {
    name: (block | None, key(None, "block or null", f"of `kind: {kind}`: its defaults where it is absent"))
    for kind, of_kind in KINDS.items()
    for name, block in of_kind.blocks.items()
}
SYSTEM = create_model("System", __base__=System, **_OPTIONAL)


def known_systems() -> list[str]:
    """Names of the files in config/systems/."""
    return sorted(config_files("systems"))


def shipped_systems() -> dict[str, System]:
    """Every system of config/systems/ as its file has it, shared autoencoders filled in."""
    own = {name: _load(name, {}) for name in known_systems()}
    return {name: _composed(name, own) for name in own}


def load_systems(names: list[str], settings: Mapping[str, dict | None], image_size: list[int]) -> dict[str, System]:
    """The systems of these names with the user's overrides, checked, widths scaled, shared autoencoders filled in.

    settings : system -> overrides; besides `names` it may name systems whose autoencoder they share
    image_size : [D, H, W] of the volumes, which the autoencoders' strides must divide

    Raises UserError that names the system, the key, what is wrong, and the lines to write.
    """
    own = {name: _load(name, settings.get(name) or {}) for name in names}
    for name, (_, system) in own.items():
        if system.generator is not None and system.generator not in names:
            what = f"{name} draws with the trained {system.generator}, which is not among systems"
            fail(["systems"], [system.generator, *names], what)
    owners = {owner for owner, _ in own.values() if owner}
    own |= {name: _load(name, settings.get(name) or {}) for name in sorted(owners - set(own))}
    if unknown := sorted(set(settings) - set(own)):
        fail(["systems"], [*names, unknown[0]], f"system_settings names {unknown[0]!r}, which is not among systems")
    systems = {name: _composed(name, own) for name in names}
    autoencoders: dict[str, tuple[str, SliceVae | Vae3d]] = {}  # name -> a system that has it, its settings
    for name, system in systems.items():
        if system.autoencoder is None:
            continue
        _check_autoencoder(image_size, system.autoencoder, name)
        owner, twin = autoencoders.setdefault(system.autoencoder.name, (name, system.autoencoder))
        if twin != system.autoencoder:
            raise UserError(
                f"config: systems {owner} and {name} share the autoencoder {system.autoencoder.name!r}, but set it "
                "differently: give one of them another autoencoder name, or write "
                f"`autoencoder: {owner}` in {name}.yaml"
            )
    return systems


def _load(name: str, overrides: dict) -> tuple[str | None, System]:
    """The system whose autoencoder `name` shares, or None, and the system without that autoencoder, widths scaled."""
    path = config_files("systems").get(name)
    own = {"label": f"external cases: {name}"} if "cases" in overrides else None  # a folder needs no file to name it
    if path is None and own is None:
        what = f"no system {name!r}: config/systems/{name}.yaml does not exist"
        raise UserError(f"config: {what}. Write, for example:\n{lines_of(['systems'], known_systems())}")
    file = read_yaml(path) if path else own
    if not isinstance(file, dict):
        raise UserError(f"config/systems/{name}.yaml holds {shown(file)}, but must be a mapping of keys to values.")
    owner = file.get("autoencoder")
    if isinstance(owner, str) and isinstance(overrides.get("autoencoder"), dict):
        what = f"system {name} shares the autoencoder of {owner}, which is set there"
        fail(["system_settings", owner, "autoencoder"], overrides["autoencoder"], what)
    merged = merge(file, overrides)
    merged = {"kind": EXTERNAL} | merged if "cases" in merged else merged
    owner = merged["autoencoder"] if isinstance(merged.get("autoencoder"), str) else None
    kind = KINDS.get(str(merged.get("kind")))
    if kind and kind.drawn_with and isinstance(lender := merged.get("generator"), str):
        if taken := [key for key in (*_SHARED, "denoiser", "diffusion", "gan") if key in merged]:
            what = f"system {name} draws with the model of {lender}, whose {taken[0]} is set there"
            fail(["system_settings", lender, taken[0]], merged[taken[0]], what)
        owner = lender
    if "depth_decoder" in merged:
        what = f"system {name}: depth_decoder is no key any more: slices are decoded one by one"
        raise UserError(f"config: {what}. Delete it, and what stands under it.")
    merged |= {"autoencoder": None} if owner else {}
    system = read_block(SYSTEM, merged, title=f"system {name}", above=["system_settings", name])
    return owner, _scaled(system)


def _scaled(system: System) -> System:
    """The system with its widths multiplied by `scale`: multiples of 4, at least 4."""
    if system.scale == 1:
        return system
    return SYSTEM.model_validate(_widths(system.model_dump(), system.scale))


def _widths(part: dict, factor: float) -> dict:
    """`part` with every list of channels in it multiplied by `factor`."""
    scaled = {}
    for name, value in part.items():
        if isinstance(value, list) and name.endswith("channels"):
            value = [max(4, 4 * round(factor * width / 4)) for width in value]
        scaled[name] = _widths(value, factor) if isinstance(value, dict) else value
    return scaled


def _composed(name: str, own: dict[str, tuple[str | None, System]]) -> System:
    """The system `name`, with the autoencoder and latents, or the model, of the system that it shares them with."""
    owner, system = own[name]
    if owner is None:
        return system
    kind = KINDS[system.kind]
    shared: tuple[str, ...] = _SHARED
    if kind.drawn_with:
        shared = (*_SHARED, *kind.trained)
        if own[owner][1].kind != kind.drawn_with:
            what = f"is of `kind: {own[owner][1].kind}`, but it must be of `kind: {kind.drawn_with}`"
            raise UserError(f"system {name}: `generator: {owner}` names a system that {what}")
    if own[owner][1].autoencoder is None:
        raise UserError(f"system {name}: `autoencoder: {owner}` names a system that has no autoencoder of its own")
    if not KINDS[system.kind].latents:
        what = f"system {name}: `kind: {system.kind}` works on voxels, without an autoencoder"
        fail(["system_settings", name, "autoencoder"], None, what)
    composed = system.model_copy(update={key: getattr(own[owner][1], key) for key in shared})
    try:
        kind.check({key: getattr(composed, key) for key in kind.blocks})
    except Fault as fault:
        fail(["system_settings", name, *fault.path], fault.value, f"system {name}: {'.'.join(fault.path)} {fault}")
    return composed


def check_weights(path: list[str], name: str, weights: str, digest_name: str, digest: str | None) -> None:
    """Raise Fault unless `weights` is "package", or a file whose checksum is given; `path` is that of their block."""
    if weights == "package":
        return
    if not Path(weights).is_file():
        raise Fault([*path, name], "package", f"names {weights!r}, which is no file")
    if digest is None:
        raise Fault([*path, digest_name], "<output of sha256sum>", "must hold the checksum of that weights file")


def _check_autoencoder(size: list[int], autoencoder: SliceVae | Vae3d, name: str) -> None:
    path, loss = ["system_settings", name, "autoencoder"], autoencoder.loss
    try:
        check_weights(
            [*path, "loss"], "perceptual_weights", loss.perceptual_weights, "perceptual_sha256", loss.perceptual_sha256
        )
    except Fault as fault:
        fail(fault.path, fault.value, f"{'.'.join(fault.path)} {fault}")
    reduction = math.prod(autoencoder.strides)
    whole_volumes = isinstance(autoencoder, Vae3d)
    axes = "along depth, height and width" if whole_volumes else "along height and width"
    patch = (autoencoder.patch_size if isinstance(autoencoder, Vae3d) else None) or size
    for place, edges in ((["preprocessing", "size"], size), ([*path, "patch_size"], patch)):
        fitting = [math.ceil(edge / reduction) * reduction for edge in edges]
        if not whole_volumes:
            fitting[0] = edges[0]
        if fitting != edges:
            what = (
                f"{'.'.join(place)} {edges} does not divide by {reduction}, the product of the strides of {name}'s "
                f"autoencoder, {axes}"
            )
            fail(place, fitting, what)
    if any(edge > whole for edge, whole in zip(patch, size, strict=True)):
        smaller = [min(edge, whole) for edge, whole in zip(patch, size, strict=True)]
        fail([*path, "patch_size"], smaller, f"system {name}: autoencoder.patch_size {patch} is larger than {size}")
