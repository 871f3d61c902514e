"""A digest of the code behind a stage, computed from the syntax tree alone.

Snakemake sees the command of a rule, not the modules it imports. The digest covers a program and every project module
it imports, docstrings and comments dropped, so that a changed line reruns exactly the stages that use it and a changed
comment reruns nothing. Nothing is imported: the Snakefile can compute it in milliseconds.
"""

import ast
import hashlib
import json
import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Where the packages lie: the checkout, or site-packages."""
IN_CHECKOUT = (ROOT / "Snakefile").is_file()
PROJECT = ROOT if IN_CHECKOUT else ROOT / "sliceaug" / "project"
"""Where Snakefile, rules, config and envs lie: the checkout, or what `setup.py` put into the package."""
PACKAGE = "workflow_scripts"
# What was found in each text so far. Every job of a cluster computes all digests two or three times, and syntax trees
# of the whole project are a second of it.
REMEMBERED = (ROOT if IN_CHECKOUT else Path()) / ".snakemake" / "code_digests.json"
DATA = ("templates", "vendor")  # folders beside a module whose files count as its code
# Modules of sentences, and lists of what there is: they change no result.
WORDS = (f"{PACKAGE}.study.settings.messages", f"{PACKAGE}.study.segmenters")


def _file(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imports(tree: ast.AST, module: str, is_package: bool) -> set[str]:
    """Names in the package that `tree` has in any import statement, wherever it stands: modules, and things in them.

    A package that loads whatever lies in it, with iter_modules, imports <package>.*
    """
    found: set[str] = set()
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
    if is_package and any(isinstance(node, ast.Name) and node.id == "iter_modules" for node in ast.walk(tree)):
        found.add(f"{module}.*")
    return {name for name in found if name.split(".")[0] == PACKAGE}


def _without_docstrings(tree: ast.Module) -> ast.Module:
    """`tree` without docstrings, and without what a `key(default, unit, meaning)` of the settings says of itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "key":
            node.args = node.args[:1]
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in ("unit", "meaning", "examples")]
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            text = first.value if isinstance(first, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                node.body = node.body[1:] or [ast.Pass()]
    return tree


@cache
def _module(module: str) -> tuple[str, frozenset[str]]:
    """Digest of one module's own code, and the project modules it imports."""
    path = _file(module)
    if path is None:
        raise ModuleNotFoundError(f"no module {module} under {ROOT}")
    code, imports = _parsed(path.read_text(encoding="utf-8"), module, path.name == "__init__.py")
    extras = "".join(_file_digest(item) for folder in DATA for item in sorted(path.parent.glob(f"{folder}/*")))
    digest = hashlib.sha256((code + extras).encode()).hexdigest() if extras else code
    if f"{module}.*" in imports:
        imports = [*imports, *(f"{module}.{item.stem}" for item in sorted(path.parent.glob("[a-z]*.py")))]
    return digest, frozenset(name for name in imports if _file(name) and name not in WORDS)


def _parsed(text: str, module: str, is_package: bool) -> tuple[str, list[str]]:
    """Digest of a module's syntax tree, and the names that it imports; remembered by its text."""
    # trees differ between versions of Python, and what is read in them between versions of this file
    where = f"{sys.version_info[:2]} {_file_digest(Path(__file__))} {module} {is_package}\n"
    key = hashlib.sha256((where + text).encode()).hexdigest()
    if key not in _remembered():
        tree = ast.parse(text)
        imports = sorted(_imports(tree, module, is_package))
        code = ast.dump(_without_docstrings(tree), annotate_fields=False)
        _remembered()[key] = [hashlib.sha256(code.encode()).hexdigest(), imports]
        _new.append(key)
    code, imports = _remembered()[key]
    return code, imports


_new: list[str] = []


@cache
def _remembered() -> dict[str, list]:
    try:
        known = json.loads(REMEMBERED.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict) or len(known) > 2000:  # texts that have changed are never looked up again
        return {}
    return known


def _remember() -> None:
    """Write down what is new, where that is possible. Jobs at the same time lose each other's news at worst."""
    temporary = REMEMBERED.with_name(f".{REMEMBERED.name}-{os.getpid()}")
    try:
        REMEMBERED.parent.mkdir(exist_ok=True)
        temporary.write_text(json.dumps(_remembered()), encoding="utf-8")
        temporary.replace(REMEMBERED)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
    _new.clear()


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
    if _new:
        _remember()
    lines = "\n".join(f"{name} {digest}" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]
