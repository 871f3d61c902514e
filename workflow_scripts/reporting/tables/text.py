"""What a table of the study is, and its text: Markdown to read and LaTeX to print."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ...base.files import read_tsv
from .cells import SIMULATED

Parts = Sequence[tuple[str | tuple[str, str], pd.DataFrame]]
LATEX_HEAD = r"% \usepackage{booktabs} and \usepackage{graphicx}"


@dataclass(frozen=True)
class Table:
    """A table of the study; `reporting.registry` says what it is made of.

    make : (files by the names of its inputs, its settings) -> every number, as the CSV holds them. Raises UserError.
    parts : (table, settings) -> readable tables, all cells text, each with a heading, or with two levels of them
    notes : (table, simulated) -> what the numbers are, in sentences
    text_columns : how many columns of a readable table, from the left, are words
    latex : (table, simulated) -> the text, where the parts are not simply one float each
    """

    title: str
    make: Callable[[Mapping[str, list[Path]], dict], pd.DataFrame]
    parts: Callable[[pd.DataFrame, dict], Parts]
    notes: Callable[[pd.DataFrame, bool], Sequence[str]]
    text_columns: int = 1
    latex: Callable[[pd.DataFrame, bool], str] | None = None

    def texts(self, table: pd.DataFrame, settings: dict, simulated: bool) -> dict[str, str]:
        """The table as text, by the suffix of its file."""
        parts, notes = self.parts(table, settings), self.notes(table, simulated)
        if self.latex:
            printed = self.latex(table, simulated)
        else:
            printed = to_latex(self.title, parts, notes, simulated, self.text_columns)
        return {
            ".csv": table.to_csv(index=False, lineterminator="\n"),
            ".md": to_markdown(self.title, parts, notes, simulated),
            ".tex": printed,
        }


def read_together(files: Sequence[Path]) -> pd.DataFrame:
    """The rows of all of these TSV files."""
    return pd.concat([read_tsv(file) for file in files], ignore_index=True)


_TEX = {"_": r"\_", "&": r"\&", "%": r"\%", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "<": "$<$"}


def markdown_table(shown: pd.DataFrame) -> list[str]:
    """Lines of a Markdown table, columns aligned; all cells text."""
    widths = [max(len(name), *(len(cell) for cell in shown[name])) for name in shown.columns]
    lines = ["| " + " | ".join(name.ljust(w) for name, w in zip(shown.columns, widths, strict=True)) + " |"]
    lines.append("|" + "|".join("-" * (w + 2) for w in widths) + "|")
    for _, row in shown.iterrows():
        lines.append("| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |")
    return lines


def tex(text: str) -> str:
    """Plain text as LaTeX."""
    text = re.sub(r'"([^"]*)"', r"``\1''", text)
    for character, escaped in (("\\", r"\textbackslash "), *_TEX.items(), ("~", r"\textasciitilde{}")):
        text = text.replace(character, escaped)
    return text


def latex_table(shown: pd.DataFrame, caption: str, label: str, text_columns: int, grouped: bool = False) -> list[str]:
    """Lines of a floating table; needs the packages booktabs and graphicx.

    shown : all cells text
    text_columns : how many columns, from the left, are words; the others are numbers
    grouped : a rule wherever the first column changes, which then is printed once
    """
    lines = [r"\begin{table}[htbp]", r"\centering", rf"\caption{{{tex(caption)}}}"]
    lines += [rf"\label{{tab:{label}}}", r"\resizebox{\linewidth}{!}{%"]
    lines += [rf"\begin{{tabular}}{{{'l' * text_columns}{'r' * (len(shown.columns) - text_columns)}}}", r"\toprule"]
    lines.append(" & ".join(tex(name) for name in shown.columns) + r" \\")
    if not grouped:
        lines.append(r"\midrule")
    previous = None
    for _, row in shown.iterrows():
        cells = [tex(cell) for cell in row]
        if grouped and row.iloc[0] != previous:
            lines.append(r"\midrule")
        elif grouped:
            cells[0] = ""
        lines.append(" & ".join(cells) + r" \\")
        previous = row.iloc[0]
    return [*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}"]


def to_markdown(title: str, parts: Parts, notes: Sequence[str], simulated: bool) -> str:
    """Title, notes, and the tables under their headings."""
    lines = [f"# {title}", ""]
    lines += [f"- **{SIMULATED}**"] * simulated + [f"- {note}" for note in notes]
    above = None
    for heading, table in parts:
        first, second = heading if isinstance(heading, tuple) else (heading, "")
        lines += ["", f"## {first}"] if first and first != above else []
        lines += ["", f"### {second}"] if second else []
        lines += ["", *markdown_table(table)]
        above = first if second else None
    return "\n".join(lines) + "\n"


def to_latex(title: str, parts: Parts, notes: Sequence[str], simulated: bool, text_columns: int) -> str:
    """One floating table a part, the notes in the first caption; needs booktabs and graphicx."""
    lines = [LATEX_HEAD]
    for index, (heading, table) in enumerate(parts):
        said = " ".join([SIMULATED] * simulated + list(notes)) if index == 0 else ""
        name = f"{title}: {heading}" if heading else title
        label = f"{title} {heading}".strip().lower().replace(" ", "-").replace("'", "")
        lines += latex_table(table, f"{name}. {said}".strip(), label, text_columns)
    return "\n".join(lines) + "\n"
