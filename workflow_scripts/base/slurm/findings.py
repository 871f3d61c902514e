"""Faults and warnings as sentences, and the table of what was checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

SHOWN = 4  # names in a sentence; the rest is a number


@dataclass
class Findings:
    """Errors, warnings and a table of what was checked. A fault that several nodes have is said once."""

    errors: dict[str, list[str]] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)
    rows: list[tuple[str, str]] = field(default_factory=list)

    def error(self, text: str, node: str = "") -> None:
        """Add a sentence; ``{node}`` in it stands for the nodes with this fault."""
        self.errors.setdefault(text, []).append(node)

    def warning(self, text: str, node: str = "") -> None:
        self.warnings.setdefault(text, []).append(node)

    def row(self, what: str, found: str) -> None:
        self.rows.append((what, found))

    @staticmethod
    def sentences(found: dict[str, list[str]]) -> list[str]:
        return [text.replace("{node}", " and ".join(sorted(set(nodes)))) for text, nodes in found.items()]


def some(names: Iterable[str]) -> str:
    """The first names, and how many more."""
    names = list(names)
    more = len(names) - SHOWN
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:SHOWN])} and {more} more"
