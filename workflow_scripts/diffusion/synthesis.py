"""From a generator to synthetic cases: conditions, noise, sampling, and the quality gate."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..base.seeds import numpy_rng, torch_rng
from ..study.settings.synthesis import Gate, SynthesisSettings
from .conditions import Seen, draw_conditions
from .gate import foreground_mask, judge, one_piece
from .generator import Generator, Request, Sample
from .requests import Wanted

DARKEST_FOREGROUND = -1.0 + 2e-4
"""Smallest intensity inside the foreground: one step of the int16 code above the background, which is exactly -1."""


Inspect = Callable[[np.ndarray, np.ndarray], Sequence[str]]


@dataclass(frozen=True)
class Case:
    """A synthetic case that passed the gate.

    image: float32 (M, D, H, W) in [-1, 1], background exactly -1; levels: uint8 (D, H, W); affine: voxel (w, h, d) to RAS
    mm, that of the host where there is one; requested and measured: condition name -> value; host, donor: ids of the
    training cases in which it is made and whose tumour it has.
    """

    number: int
    attempts: int
    requested: dict[str, float]
    measured: dict[str, float]
    image: np.ndarray
    levels: np.ndarray
    affine: np.ndarray
    host: str | None = None
    donor: str | None = None


@dataclass(frozen=True)
class Refusal:
    """A draw that the gate refused; `last` if the case is given up. measured is None where there was no tumour."""

    number: int
    attempt: int
    reasons: tuple[str, ...]
    measured: dict[str, float] | None
    last: bool
    host: str | None = None
    donor: str | None = None


def grid_affine(grid: Mapping) -> np.ndarray:
    """Affine (voxel (w, h, d) to RAS mm) of the model's grid, its centre at the origin."""
    spacing_whd = np.asarray(grid["spacing_mm"], dtype=np.float64)[::-1]
    size_whd = np.asarray(grid["size"])[::-1]
    affine = np.diag([*spacing_whd, 1.0])
    affine[:3, 3] = -spacing_whd * (size_whd - 1) / 2
    return affine


def synthesise(
    generator: Generator,
    numbers: Iterable[int],
    settings: SynthesisSettings,
    requests: Mapping[int, Wanted] | None = None,
    extrapolate: bool = False,
    inspect: Inspect | None = None,
) -> Iterator[Case | Refusal]:
    """Make the cases of these numbers; refused draws come out as well, the last one of a case marked so.

    Features, host, noise and the sampler's noise of case i depend on (seed, i, attempt) alone.

    requests : number -> requested conditions, all or some, and host; the others are drawn
    extrapolate : the gate does not look at the training range of the conditions
    inspect : reasons to refuse a case that has passed the gate, by its finished image (M, D, H, W) and the levels (D, H, W)
        of the tumour that was asked for; none: it is kept
    """
    wanted = (requests or {}).get
    gate = settings.gate.model_copy(update={"feature_tolerance": math.inf} if extrapolate else {})
    todo = deque((number, 0) for number in numbers)
    while todo:
        batch = [todo.popleft() for _ in range(min(settings.cases_per_batch, len(todo)))]
        asked = [
            _request(generator, number, attempt, settings, wanted(number, Wanted({}))) for number, attempt in batch
        ]
        again = []
        for (number, attempt), request, sample in zip(batch, asked, generator.sample(asked), strict=True):
            made = _judged(generator, number, attempt, request, sample, settings, gate, inspect)
            if isinstance(made, Refusal) and not made.last:
                again.append((number, attempt + 1))
            yield made
        todo.extendleft(reversed(again))


def cut_to_foreground(image: np.ndarray, levels: np.ndarray, foreground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image (M, D, H, W) and levels (D, H, W) with nothing outside of the foreground, where the image is exactly -1."""
    image = np.where(foreground, np.clip(image, DARKEST_FOREGROUND, 1.0), np.float32(-1.0)).astype(np.float32)
    return image, np.where(foreground, levels, 0).astype(np.uint8)


def foreground_of(sample: Sample, background: bool) -> np.ndarray:
    """bool (D, H, W); `background`: whether the data set has any."""
    known = sample.foreground
    if known is None:
        return foreground_mask(sample.image, background)
    return known if known.dtype == bool else one_piece(known > 0.5)


def _request(generator: Generator, number: int, attempt: int, settings: SynthesisSettings, wanted: Wanted) -> Request:
    """The tumour, and the host if the generator puts it into one, of a draw."""
    features = numpy_rng(settings.seed, "features", number, attempt)
    conditions = draw_conditions(generator.conditions, features, settings.smoothing, wanted.conditions)
    host = None
    if generator.hosts is not None:
        host = generator.hosts[wanted.host] if wanted.host else generator.hosts.drawn(number, attempt)
    return Request(conditions, torch_rng(settings.seed, "noise", number, attempt), host)


def _judged(
    generator: Generator,
    number: int,
    attempt: int,
    request: Request,
    sample: Sample,
    settings: SynthesisSettings,
    gate: Gate,
    inspect: Inspect | None,
) -> Case | Refusal:
    image, levels = sample.image, sample.levels
    contract = generator.contract
    host = request.host
    foreground = foreground_of(sample, contract["written"]["background"])
    spacing_mm = contract["grid"]["spacing_mm"]
    seen, regions = Seen.of(contract), contract["regions"]
    verdict = judge(sample.asked_for, foreground, spacing_mm, generator.conditions, seen, gate, regions)
    image, levels = cut_to_foreground(image, levels, foreground)
    reasons: tuple[str, ...] = verdict.reasons or tuple(
        inspect(image, np.where(foreground, sample.asked_for, 0)) if inspect else ()
    )
    if reasons or verdict.measured is None:
        last = attempt >= settings.max_redraws
        return Refusal(number, attempt, reasons, verdict.measured, last, host.case_id if host else None, sample.donor)
    requested = dict(zip(generator.conditions.names, request.conditions.tolist(), strict=True))
    affine = host.affine if host else grid_affine(contract["grid"])
    origins = host.case_id if host else None, sample.donor
    return Case(number, attempt + 1, requested, verdict.measured, image, levels, affine, *origins)
