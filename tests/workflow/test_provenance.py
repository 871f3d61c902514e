"""The code digest: a changed line of a module changes the stages that import it, a comment or docstring changes none."""

from __future__ import annotations

import subprocess
import sys

import pytest

import workflow_scripts.base.provenance as provenance

FILES = {
    "workflow_scripts/__init__.py": '"""Package."""\n',
    "workflow_scripts/stage.py": "from workflow_scripts.room.used import f\n\nprint(f(1))\n",
    "workflow_scripts/room/__init__.py": "",
    "workflow_scripts/room/used.py": 'def f(x):\n    """Add one."""\n    from .deeper import ONE\n    from .settings import steps\n\n    return x + ONE\n',
    "workflow_scripts/room/deeper.py": "ONE = 1\n",
    "workflow_scripts/room/other.py": "TWO = 2\n",
    "workflow_scripts/room/settings.py": 'def key(*x):\n    return x\n\n\nsteps = key(3, "steps", "of a case")\n',
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setattr(provenance, "REMEMBERED", tmp_path / ".snakemake" / "code_digests.json")
    yield tmp_path
    provenance._remembered.cache_clear()  # what other tests remember is elsewhere


def digest():
    """As a new process finds it."""
    provenance._remembered.cache_clear()
    provenance.code_digest.cache_clear()
    provenance._module.cache_clear()
    provenance._file_digest.cache_clear()
    return provenance.code_digest("workflow_scripts.stage")


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("room/used.py", "x + ONE", "x - ONE", True),
        ("room/deeper.py", "ONE = 1", "ONE = 2", True),
        ("stage.py", "f(1)", "f(2)", True),
        ("room/used.py", "Add one.", "Add the number one.", False),
        ("room/deeper.py", "ONE = 1", "# the unit\nONE = 1  # one", False),
        ("room/used.py", "return x + ONE", "return (x\n            + ONE)", False),
        ("room/other.py", "TWO = 2", "TWO = 3", False),
        ("room/settings.py", "key(3,", "key(4,", True),
        ("room/settings.py", "of a case", "of each case", False),
    ],
)
def test_digest_follows_the_code_that_runs(project, file, old, new, changes):
    before = digest()
    path = project / "workflow_scripts" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert (digest() != before) == changes


def test_a_text_is_parsed_once_for_all_processes(project, monkeypatch):
    before = digest()
    (project / "workflow_scripts/room/other.py").write_text("THREE = 3\n")  # nobody imports it
    with monkeypatch.context() as patch:
        patch.setattr(provenance.ast, "parse", None)
        assert digest() == before
    provenance.REMEMBERED.write_text("{ cut o")
    assert digest() == before


def test_where_nothing_can_be_written_the_digest_is_the_same(project, monkeypatch):
    before = digest()
    (project / "a_file").touch()
    monkeypatch.setattr(provenance, "REMEMBERED", project / "a_file" / "code_digests.json")
    assert digest() == before


@pytest.mark.parametrize("folder", ["templates", "vendor"])
def test_a_template_counts_as_code(project, folder):
    before = digest()
    (project / "workflow_scripts/room" / folder).mkdir()
    (project / "workflow_scripts/room" / folder / "page.html").write_text("<p>")
    assert digest() != before


def test_digests_of_all_programs_need_no_torch():
    code = (
        "import sys, pathlib\nfrom workflow_scripts.base.provenance import code_digest, ROOT\n"
        "for p in sorted((ROOT / 'workflow_scripts/programs').glob('*/[a-z]*.py')):\n"
        "    code_digest(f'workflow_scripts.programs.{p.parent.name}.{p.stem}')\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
