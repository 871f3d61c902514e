"""SliceAug as a library: trained generators and arms, results of studies, metrics.

    import sliceaug

    generator = sliceaug.Generator.load("results/demo/n_real~3/generator/slice_ldm")
    cases = generator.sample([{"volume_ml": 30}, {"volume_ml": 60}])
    study = sliceaug.read_study("results/demo")

The workflow itself is `workflow_scripts`, whose modules may change with any version.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from workflow_scripts.base.errors import BadCase, UserError

from .arms import predict
from .generator import Generator, SyntheticCase
from .study import Study, read_study

if TYPE_CHECKING:
    from . import metrics

__all__ = ["BadCase", "Generator", "Study", "SyntheticCase", "UserError", "metrics", "predict", "read_study"]


def __getattr__(name: str) -> Any:
    """`metrics`, with SciPy and torch, is imported where it is first used."""
    if name == "metrics":
        return import_module(".metrics", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
