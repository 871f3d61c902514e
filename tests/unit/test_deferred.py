"""A deferred package: its submodules load without it, and it loads when a name is asked of it."""

import importlib
import subprocess
import sys

import pytest

from workflow_scripts.base.deferred import defer


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The name of a package with a heavy `__init__` and a submodule that imports it."""
    (tmp_path / "heavy_thing").mkdir()
    (tmp_path / "heavy_thing/__init__.py").write_text("from .light import one\nfrom . import light\nloaded = one + 1\n")
    (tmp_path / "heavy_thing/light.py").write_text("import heavy_thing\nimport heavy_thing.light as me\none = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "heavy_thing"
    for name in [name for name in sys.modules if name.startswith("heavy_thing")]:
        del sys.modules[name]


def test_submodules_load_without_the_package_and_the_package_when_it_is_used(package):
    defer(package, "no_such_package", submodules=True)
    assert "no_such_package" not in sys.modules
    light = importlib.import_module(f"{package}.light")
    module = importlib.import_module(package)
    assert light.one == 1 and module.light is light and light.me is light
    assert not hasattr(module, "__version__") and "loaded" not in vars(module)
    assert module.loaded == 2 and type(module) is type(sys)
    with pytest.raises(AttributeError):
        _ = module.missing
    defer(package)
    assert importlib.import_module(package) is module, "what is loaded stays"


def test_where_a_submodule_needs_the_package_its_import_loads_it(package):
    defer(package)
    module = sys.modules[package]
    assert "loaded" not in vars(module)
    assert importlib.import_module(f"{package}.light").one == 1
    assert vars(module)["loaded"] == 2


def test_torchmetrics_can_be_imported_after_a_training():
    code = "import workflow_scripts.training.launch\nfrom torchmetrics.image.fid import FrechetInceptionDistance"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_training_loads_no_more_of_lightning_than_it_uses():
    code = (
        "import sys, workflow_scripts.training.launch\n"
        "print([name for name in ('lightning.pytorch', 'torchmetrics.metric', 'scipy', 'matplotlib', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr
