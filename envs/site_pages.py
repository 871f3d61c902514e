"""What `make docs` adds to docs/: the pages that stand elsewhere in the repository, with links that lead within the site.

A link to a file that is no page becomes its name: the site stands alone.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "config/README.md": "keys.md",
    "slurm/README.md": "cluster.md",
    "envs/README.md": "environments.md",
    "results/README.md": "results.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
}
TITLES = {"results/README.md": "# What a run makes\n\n"}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")


def relinked(text: str, path: str) -> str:
    """The Markdown of the repository's file `path` with its relative links as they are in the site."""

    def of_site(found: re.Match) -> str:
        label, (target, _, anchor) = found[1], found[2].partition("#")
        if re.match(r"[a-z]+:", target) or not target:
            return found[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        page = PAGES.get(file) or (file.removeprefix("docs/") if file.startswith("docs/") else None)
        if page is None or file.startswith("docs/benchmarks"):
            return label if label.startswith("`") else f"{label} (`{file}`)" if label != file else f"`{file}`"
        return f"[{label}]({page}{'#' * bool(anchor)}{anchor})"

    return LINK.sub(of_site, text)


def on_files(files, config):
    for path, page in PAGES.items():
        text = TITLES.get(path, "") + (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=relinked(text, path)))
    return files


def on_page_markdown(markdown, page, config, files):
    return markdown if page.file.src_uri in PAGES.values() else relinked(markdown, f"docs/{page.file.src_uri}")
