"""Fixtures shared by all tests."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import small_cases


@pytest.fixture(scope="session")
def real_cases(tmp_path_factory) -> Path:
    """A folder with brats2021/, brats2023/ and masks_only/ of real cases and no other; the test is skipped without them."""
    given = os.environ.get("SLICEAUG_REAL_CASES")
    if not given:
        pytest.skip("SLICEAUG_REAL_CASES is not set: it names the folder with the real BraTS cases")
    folder = tmp_path_factory.mktemp("real_cases")
    for name in ("brats2021", "brats2023", "masks_only"):
        source = Path(given).resolve() / name
        assert source.is_dir(), f"SLICEAUG_REAL_CASES={given} holds no folder {name}"
        (folder / name).symlink_to(source, target_is_directory=True)
    return folder


@pytest.fixture(scope="session")
def make_case():
    """The function that writes one small valid case (`small_cases.make_case`)."""
    return small_cases.make_case


@pytest.fixture(scope="session")
def preprocessed_cohort():
    """A function (folder, cases=6, **preprocessing settings) -> folder with volumes/, cases.tsv, rejected.tsv."""

    def make(folder, cases: int = 6, **config) -> Path:
        folder = Path(folder)
        for index in range(cases):
            small_cases.make_case(folder / "data", f"BraTS-GLI-{index:05d}-000", seed=index)
        return small_cases.prepare(folder / "data", folder / "cohort", config)

    return make


@pytest.fixture(scope="session")
def trained_heads(tmp_path_factory) -> Path:
    """autoencoder/, latents/, state/ and model/ of `tiny_generator`: trained once for all test processes. Copy, then change."""
    import tiny_generator

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained_heads"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "heads/model").is_dir():
            tiny_generator.make_inputs(folder / "heads")
            tiny_generator.train(folder / "heads", folder / "heads/state", folder / "heads/model")
    return folder / "heads"


@pytest.fixture
def holders_at_save(monkeypatch):
    """A function of a program's --state folder: what its lock files hold at the moment at which a model is written."""
    from workflow_scripts.training import model_files, train_model

    def watch(state: Path) -> list[str]:
        holders, save = [], model_files.save_model

        def save_and_look(*arguments):
            holders.extend(lock.read_text() for lock in state.rglob(".lock"))
            save(*arguments)

        for module in (model_files, train_model):
            monkeypatch.setattr(module, "save_model", save_and_look)
        return holders

    return watch


@pytest.fixture(autouse=True)
def _the_cluster_is_left_empty(request):
    """After a test on Slurm, however it ended: no Snakemake and no job of it."""
    yield
    if "slurm" in request.fixturenames:
        import cluster_study

        cluster_study.end_all()


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium (`browser.Browser`), one for all tests. Skipped where there is none."""
    from browser import browser_programs, chromium

    if browser_programs() is None:
        pytest.skip("no browser (chromium, chromedriver): apt-get install chromium chromium-driver")
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory):
    """A run of which every section of the report has its files (`report_files.small_run`)."""
    from report_files import small_run

    return small_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def whole_report(whole_run, tmp_path_factory, preprocessed_cohort) -> Path:
    """The report of a simulated cohort with every section, and with the viewer."""
    from report_files import add_synthetic, viewer_file, write_report
    from report_parts import add_the_rest, demo_config

    cohort = add_synthetic(preprocessed_cohort(tmp_path_factory.mktemp("viewer"), cases=5))
    viewer = str(viewer_file(cohort, cohort / "viewer.json", "--simulated"))
    options = [*add_the_rest(whole_run.folder), "--simulated", "--viewer", viewer]
    return write_report(whole_run, *options, "--config", json.dumps(demo_config()))


@pytest.fixture
def page(browser, whole_report):
    """The browser with the report just opened, on a desktop and by day."""
    from browser import DESKTOP

    browser.resize(*DESKTOP)
    browser.theme("light")
    browser.open_file(whole_report)
    return browser


@pytest.fixture(scope="session")
def slurm() -> Path:
    """A real Slurm on this host (tests/cluster/start_slurm.sh); the folder of its state. Skipped unless allowed."""
    if os.environ.get("SLICEAUG_SLURM_TESTS") != "1":
        pytest.skip("SLICEAUG_SLURM_TESTS=1 is not set: it allows the tests to install and start Slurm on this host")
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("starting Slurm for the tests needs root on a Debian-like machine")
    root = Path(os.environ.get("SLURM_ROOT", "/tmp/slurm-one-host"))
    done = subprocess.run(
        [Path(__file__).parent / "cluster" / "start_slurm.sh"],
        env={**os.environ, "SLURM_ROOT": str(root)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return root
