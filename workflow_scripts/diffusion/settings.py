"""The settings of a synthesis, checked, with the defaults that hold where a key is absent."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields

from ..base.errors import UserError
from .gate import check_gate
from .samplers import check_sampler


@dataclass(frozen=True)
class SynthesisSettings:
    """How cases are drawn.

    Attributes
    ----------
    sampler : dict
        name, steps, eta, guidance; see `samplers.check_sampler`.
    gate : dict
        See `gate.GATE_DEFAULTS`.
    seed : int
        Case i depends on the seed and i alone.
    slices_per_batch : int
        Slices decoded at once: bounds memory.
    cases_per_batch : int
        Latents denoised at once. With 1 a case is the same in whatever company it is made, to the byte on a CPU; more
        is faster on a GPU, and equal up to rounding.
    max_redraws : int
        New draws for a case that the gate refused.
    smoothing : float
        Width of the kernel around a training tumour's conditions, in standard deviations.
    case_prefix : str
        Case ids are ``<prefix>-<number>-000``.
    precision : "auto" | "bf16" | "32"
    block_size : int
        Cases in a block.
    depth_decoder : bool or None
        Decode along depth; None: where the model folder holds a depth decoder.
    """

    sampler: dict = field(default_factory=lambda: check_sampler({}))
    gate: dict = field(default_factory=lambda: check_gate({}))
    seed: int = 0
    slices_per_batch: int = 32
    cases_per_batch: int = 1
    max_redraws: int = 8
    smoothing: float = 0.1
    case_prefix: str = "SliceAug"
    precision: str = "auto"
    block_size: int = 10
    depth_decoder: bool | None = None

    @classmethod
    def from_config(cls, config: dict) -> SynthesisSettings:
        """Check a config block. Raises UserError that names the key, its value and what it may be."""
        known = [item.name for item in fields(cls)]
        for key in config:
            if key not in known:
                raise UserError(f"synthesis: unknown key `{key}`; known keys: {', '.join(known)}")
        for key in ("sampler", "gate"):
            if not isinstance(config.get(key, {}), dict):
                raise UserError(f"synthesis.{key} is {config[key]!r}: it must be a mapping of keys to values")
        smallest = {"seed": 0, "slices_per_batch": 1, "cases_per_batch": 1, "max_redraws": 0, "block_size": 1}
        for key, least in smallest.items():
            value = config.get(key, least)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UserError(f"synthesis.{key} is {value!r}: it must be a whole number, {least} or more")
        smoothing = config.get("smoothing", 0.1)
        if isinstance(smoothing, bool) or not isinstance(smoothing, int | float) or smoothing < 0:
            raise UserError(f"synthesis.smoothing is {smoothing!r}: it must be a number, 0 or more")
        if str(config.get("precision", "auto")) not in ("auto", "bf16", "32"):
            raise UserError(f"synthesis.precision is {config['precision']!r}: it must be auto, bf16 or 32")
        if config.get("depth_decoder") not in (True, False, None):
            raise UserError(f"synthesis.depth_decoder is {config['depth_decoder']!r}: it must be true, false or null")
        prefix = config.get("case_prefix", "SliceAug")
        if not isinstance(prefix, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", prefix):
            raise UserError(f"synthesis.case_prefix is {prefix!r}: use letters, digits, - and _ only")
        checked = {"sampler": check_sampler(config.get("sampler", {})), "gate": check_gate(config.get("gate", {}))}
        return cls(**config | checked | {"precision": str(config.get("precision", "auto"))})
