"""A digest of the code behind a stage, computed from the syntax tree alone.

Snakemake sees the command of a rule, not the modules it imports. The digest covers a program and every project module
it imports, docstrings and comments dropped, so that a changed line reruns exactly the stages that use it and a changed
comment reruns nothing. Nothing is imported: the Snakefile can compute it in milliseconds.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "workflow_scripts"
DATA = ("templates", "vendor")  # folders beside a module whose files count as its code


def _file(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imports(tree: ast.AST, module: str, is_package: bool) -> set[str]:
    """Project modules that `tree` names in any import statement, wherever it stands."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, base]).rstrip(".")
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return {name for name in found if name.split(".")[0] == PACKAGE and _file(name)}


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            if is_text and isinstance(first.value.value, str):
                node.body = node.body[1:] or [ast.Pass()]
    return tree


@cache
def _module(module: str) -> tuple[str, frozenset[str]]:
    """Digest of one module's own code, and the project modules it imports."""
    path = _file(module)
    if path is None:
        raise ModuleNotFoundError(f"no module {module} under {ROOT}")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = _imports(tree, module, path.name == "__init__.py")
    code = ast.dump(_without_docstrings(tree), annotate_fields=False)
    extras = "".join(_file_digest(item) for folder in DATA for item in sorted(path.parent.glob(f"{folder}/*")))
    return hashlib.sha256((code + extras).encode()).hexdigest(), frozenset(imports)


@cache
def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def code_digest(module: str) -> str:
    """Hexadecimal digest (16 digits) of `module` and all project modules that it reaches by imports."""
    digests, todo = {}, [module]
    while todo:
        name = todo.pop()
        if name in digests:
            continue
        digests[name], imports = _module(name)
        todo.extend(imports)
    lines = "\n".join(f"{name} {digest}" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]
