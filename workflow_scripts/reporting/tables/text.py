"""A table of text, as Markdown to read and as LaTeX to print."""

from __future__ import annotations

import re

import pandas as pd

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

    Parameters
    ----------
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


LATEX_HEAD = r"% \usepackage{booktabs} and \usepackage{graphicx}"
