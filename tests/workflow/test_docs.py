"""The documents hold together without network and without the site's packages: links, pages, lengths, licences."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from workflow import ROOT

from workflow_scripts.programs.operations.notice import NOTICE, notice

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "config/*.md", "slurm/*.md", "envs/*.md", "results/README.md")
    for path in ROOT.glob(pattern)
)


def prose(file: str) -> str:
    """The text without code."""
    text = re.sub(r"^```.*?^```", "", (ROOT / file).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`(?!\])", "", text)


def anchors(file: Path) -> set[str]:
    """What GitHub and MkDocs call the headings of a document."""
    text = re.sub(r"^```.*?^```", "", file.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", DOCUMENTS)
def test_every_relative_link_leads_somewhere(file):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(file)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (ROOT / file).parent / path if path else ROOT / file
        assert there.exists(), f"{file}: {target}"
        assert not anchor or anchor in anchors(there), f"{file}: {target}"


def _files(part) -> set[str]:
    if isinstance(part, str):
        return {part}
    return set().union(*map(_files, part.values() if isinstance(part, dict) else part))


def test_the_site_has_every_page():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    pages = (ROOT / site["hooks"][0]).read_text()
    elsewhere = dict(re.findall(r'^    "([\w/.]+)": "([\w.]+)",$', pages, flags=re.MULTILINE))
    assert elsewhere and all((ROOT / file).is_file() for file in elsewhere)
    own = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert _files(site["nav"]) == own | set(elsewhere.values())


def test_the_readme_is_read_in_minutes():
    assert len((ROOT / "README.md").read_text().split()) <= 600


def test_the_notice_is_what_the_lock_holds():
    assert NOTICE.read_text(encoding="utf-8") == notice(), "`make notice`"
    assert "connected-components-3d" in notice() and "LGPL-3.0-or-later" in notice()


def test_forms_of_issues_ask_for_no_patient():
    for form in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        parts = yaml.safe_load(form.read_text())
        assert {"name", "description", "body"} <= set(parts)
        words = [part["attributes"]["value"] for part in parts["body"] if part["type"] == "markdown"]
        assert form.stem == "result" or "no images of real patients" in words[0]
