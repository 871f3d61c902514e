"""Packages that others import and seldom use, loaded where they are used: a second or more of every job.

Lightning's Fabric brings all of Lightning and torchmetrics, nnU-Net's trainer the seaborn of a plot that nobody asks for, and
each of them its own SciPy and Matplotlib. `importlib.util.LazyLoader` does not do for packages: the import of a submodule
asks for the package's path, and that would load it.
"""

import importlib.util
import sys
from types import ModuleType
from typing import Any


class Deferred(ModuleType):
    """A package of which submodules can be imported; its own code runs when a name is asked of it that is none of them."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # `hasattr(package, "__version__")` is answered by the metadata
            raise AttributeError(name)
        submodule = sys.modules.get(f"{self.__name__}.{name}")
        if submodule is not None:
            return submodule
        self.__class__ = ModuleType  # type: ignore[assignment]
        assert self.__spec__ is not None and self.__spec__.loader is not None, "found by `defer`"
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def defer(*packages: str) -> None:
    """Let `packages` run when one of their names is used. Those that are loaded, or not installed, are left as they are."""
    for name in packages:
        spec = None if name in sys.modules else importlib.util.find_spec(name)
        if spec is not None:
            module = sys.modules[name] = importlib.util.module_from_spec(spec)
            module.__class__ = Deferred
