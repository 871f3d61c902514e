"""Packages that others import and seldom use, loaded where they are used: a second or more of every job.

Lightning's Fabric brings all of Lightning and torchmetrics, nnU-Net's trainer the seaborn of a plot that nobody asks for, and
each of them its own SciPy and Matplotlib. `importlib.util.LazyLoader` does not do for Lightning: the import of a submodule,
Fabric, asks for the package's path, and that would load it.
"""

import importlib.util
import sys
from types import ModuleType
from typing import Any


class Deferred(ModuleType):
    """A package whose own code runs when a name is asked of it that is none of its loaded submodules.

    While it has no ``__path__``, the import of a submodule asks for that, and runs it first.
    """

    def __getattr__(self, name: str) -> Any:
        spec = self.__spec__
        assert spec is not None and spec.loader is not None, "found by `defer`"
        if name == "__path__":
            self.__path__ = list(spec.submodule_search_locations or [])
        elif name.startswith("__"):  # `hasattr(package, "__version__")` is answered by the metadata
            raise AttributeError(name)
        elif (submodule := sys.modules.get(f"{self.__name__}.{name}")) is not None:
            return submodule
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec.loader.exec_module(self)
        return getattr(self, name)


def defer(*packages: str, submodules: bool = False) -> None:
    """Let `packages` run when they are used. Those that are loaded, or not installed, are left as they are.

    submodules : whether the import of a submodule may do without them; else it is a use
    """
    for name in packages:
        spec = None if name in sys.modules else importlib.util.find_spec(name)
        if spec is not None:
            module = sys.modules[name] = importlib.util.module_from_spec(spec)
            module.__class__ = Deferred
            if not submodules:
                vars(module).pop("__path__", None)
