"""The generative systems of config/systems/: each a composition of an autoencoder, a network and a sampler."""

from __future__ import annotations

import copy
import math
from pathlib import Path

from ..study.generators import check_together
from .errors import UserError
from .schema import CONFIG, check_schema, fail, lines_of, merge, read_yaml

_WIDTHS = (
    ("autoencoder", "channels"),
    ("autoencoder", "discriminator", "channels"),
    ("denoiser", "channels"),
    ("gan", "channels"),
    ("gan", "discriminator_channels"),
)
"""Where a system's widths are, which `scale` multiplies."""

_SHARED = ("autoencoder", "latents", "depth_decoder")
"""What a system takes over with the autoencoder of another."""


def known_systems() -> list[str]:
    """Names of the files in config/systems/."""
    return sorted(path.stem for path in (CONFIG / "systems").glob("*.yaml"))


def shipped_systems() -> dict[str, dict]:
    """Every system of config/systems/ as its file has it, shared autoencoders filled in."""
    own = {name: _load(name, {}) for name in known_systems()}
    return {name: _composed(name, own) for name in own}


def load_systems(names: list[str], settings: dict, image_size: list[int]) -> dict[str, dict]:
    """The systems of these names with the user's overrides, checked, widths scaled, shared autoencoders filled in.

    Parameters
    ----------
    settings : system -> overrides; besides `names` it may name systems whose autoencoder they share
    image_size : [D, H, W] of the volumes, which the autoencoders' strides must divide

    Raises
    ------
    UserError
        That names the system, the key, what is wrong, and the lines to write.
    """
    own = {name: _load(name, settings.get(name) or {}) for name in names}
    owners = {system["autoencoder"] for system in own.values() if isinstance(system["autoencoder"], str)}
    own |= {name: _load(name, settings.get(name) or {}) for name in sorted(owners - set(own))}
    unknown = sorted(set(settings) - set(own))
    if unknown:
        what = f"system_settings names {unknown[0]!r}, which is not among systems"
        fail(["systems"], [*names, unknown[0]], what)
    systems = {name: _composed(name, own) for name in names}
    autoencoders: dict[str, tuple[str, dict]] = {}  # its name -> the first system that has it, and how it is set
    for name, system in systems.items():
        autoencoder = system["autoencoder"]
        if autoencoder is None:
            continue
        _check_autoencoder(image_size, autoencoder, name)
        _check_depth_decoder(image_size, system, name)
        own_parts = {"autoencoder": autoencoder, "depth_decoder": system.get("depth_decoder")}
        owner, twin = autoencoders.setdefault(autoencoder["name"], (name, own_parts))
        if twin != own_parts:
            raise UserError(
                f"config: systems {owner} and {name} share the autoencoder {autoencoder['name']!r}, but set it differently, "
                f"or its depth_decoder: give one of them another autoencoder name, or write `autoencoder: {owner}` in {name}.yaml"
            )
    return systems


def _load(name: str, overrides: dict) -> dict:
    path = CONFIG / "systems" / f"{name}.yaml"
    if not path.is_file():
        raise UserError(
            f"config: no system {name!r}: config/systems/{name}.yaml does not exist. Write, for example:\n"
            f"{lines_of(['systems'], known_systems())}"
        )
    file = read_yaml(path)
    owner = file.get("autoencoder")
    if isinstance(owner, str) and isinstance(overrides.get("autoencoder"), dict):
        what = f"system {name} shares the autoencoder of {owner}, which is set there"
        fail(["system_settings", owner, "autoencoder"], overrides["autoencoder"], what)
    system = merge(file, overrides)
    check_schema(system, "system.schema.yaml", file, f"system {name}")
    diffusion = {key for key in ("denoiser", "diffusion", "sampler") if key in system}
    if "gan" in system and (diffusion or system["autoencoder"] is not None):
        extra = sorted(diffusion)[0] if diffusion else "autoencoder"
        raise UserError(f"system {name}: a system with a `gan` has no {extra}: a GAN makes volumes in one pass")
    if "gan" not in system and len(diffusion) < 3:
        missing = sorted({"denoiser", "diffusion", "sampler"} - diffusion)[0]
        raise UserError(f"system {name}: {missing!r} is missing: write denoiser, diffusion and sampler, or gan")
    if "diffusion" in system:
        try:
            check_together(system["diffusion"], system["sampler"])
        except UserError as error:
            raise UserError(f"system {name}: {error}") from None
    return _scaled(system)


def _scaled(system: dict) -> dict:
    """The system with its widths multiplied by `scale`: multiples of 4, at least 4."""
    system, factor = copy.deepcopy(system), system["scale"]
    for *path, last in _WIDTHS:
        block = system
        for key in path:
            block = block.get(key) if isinstance(block, dict) else None
        if isinstance(block, dict) and factor != 1:
            block[last] = [max(4, 4 * round(factor * width / 4)) for width in block[last]]
    return system


def _composed(name: str, own: dict[str, dict]) -> dict:
    """The system `name`, with the autoencoder, depth decoder and latents of the system that it shares them with."""
    system = own[name]
    owner = system["autoencoder"]
    if not isinstance(owner, str):
        return system
    if not isinstance(own[owner]["autoencoder"], dict):
        raise UserError(f"system {name}: `autoencoder: {owner}` names a system that has no autoencoder of its own")
    if "depth_decoder" in system:
        what = f"system {name} shares the autoencoder of {owner}, and so its depth_decoder, which is set there"
        fail(["system_settings", owner, "depth_decoder"], system["depth_decoder"], what)
    return system | {key: own[owner][key] for key in _SHARED if key in own[owner]}


def check_weights(block: dict, path: list, weights: str, digest: str) -> None:
    """Raise UserError unless the key `weights` of `block` is "package", or a file whose checksum is given."""
    if block[weights] == "package":
        return
    name = ".".join(path)
    if not Path(block[weights]).is_file():
        fail([*path, weights], "package", f"{name}.{weights} names {block[weights]!r}, which is no file")
    if block[digest] is None:
        fail([*path, digest], "<output of sha256sum>", f"{name}.{digest} must hold the checksum of that weights file")


def _check_depth_decoder(size: list[int], system: dict, name: str) -> None:
    block, autoencoder = system.get("depth_decoder"), system["autoencoder"]
    if block is None:
        return
    path = ["system_settings", name, "depth_decoder"]
    if autoencoder["kind"] != "slice_vae":
        fail(path, None, f"system {name}: a depth_decoder goes with an autoencoder of kind slice_vae alone")
    count = len(autoencoder["channels"])
    if block["levels"] != "all" and max(block["levels"]) > count:
        levels = [level for level in block["levels"] if level <= count] or "all"
        fail(
            [*path, "levels"], levels, f"system {name}: depth_decoder.levels {block['levels']} go beyond {count} levels"
        )
    if block["kernel_size"] % 2 == 0:
        fail([*path, "kernel_size"], block["kernel_size"] + 1, f"system {name}: depth_decoder.kernel_size must be odd")
    if block["slab_slices"] > size[0]:
        what = f"system {name}: depth_decoder.slab_slices is more than the {size[0]} slices of preprocessing.size"
        fail([*path, "slab_slices"], size[0], what)


def _check_autoencoder(size: list[int], autoencoder: dict, name: str) -> None:
    path = ["system_settings", name, "autoencoder"]
    check_weights(autoencoder["loss"], [*path, "loss"], "perceptual_weights", "perceptual_sha256")
    if len(autoencoder["strides"]) != len(autoencoder["channels"]):
        what = f"system {name}: autoencoder.strides must have one entry for each of autoencoder.channels"
        fail([*path, "strides"], [1] + [2] * (len(autoencoder["channels"]) - 1), what)
    reduction = math.prod(autoencoder["strides"])
    whole_volumes = autoencoder["kind"] != "slice_vae"
    axes = "along depth, height and width" if whole_volumes else "along height and width"
    for place, edges in (
        (["preprocessing", "size"], size),
        ([*path, "patch_size"], autoencoder.get("patch_size") or size),
    ):
        fitting = [math.ceil(edge / reduction) * reduction for edge in edges]
        if not whole_volumes:
            fitting[0] = edges[0]
        if fitting != edges:
            what = (
                f"{'.'.join(place)} {edges} does not divide by {reduction}, the product of the strides of {name}'s "
                f"autoencoder, {axes}"
            )
            fail(place, fitting, what)
    patch = autoencoder.get("patch_size") or size
    if any(edge > whole for edge, whole in zip(patch, size, strict=True)):
        smaller = [min(edge, whole) for edge, whole in zip(patch, size, strict=True)]
        fail([*path, "patch_size"], smaller, f"system {name}: autoencoder.patch_size {patch} is larger than {size}")
