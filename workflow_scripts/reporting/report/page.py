"""The report: one HTML file that opens offline, made from the tables and figures of a run.

No date and no host is written: the same numbers make the same bytes.

The report is the list `SECTIONS`, in reading order. It opens with the answer, the ladder, the ratio figure and one narrow table;
what else there is of a section opens on demand (`Details`), so that the whole of it is read in minutes. To add a section:

1. Write a function ``(run: Run) -> Section | None`` in a module of ``sections/``, of the blocks in ``blocks.py``:
   ``Section("audit", "Memorisation", [Text(...), Table("audit pairs", frame, text_columns=2), Notes([...])])``.
   It returns None, or says "Not measured.", where its files were not given.
2. Name it in `SECTIONS`.
3. Name the files that it reads in `FILES`: ``make_report`` then takes them as ``--<name>`` (``-`` for ``_``), and the section finds
   them as ``run.paths("<name>")``, ``run.csv("<name>")`` or ``run.labelled("<name>")``.
4. Give them to the rule ``make_report`` as the input ``<name>``: it passes every input on.
"""

from collections.abc import Callable
from pathlib import Path

import jinja2

from ..registry import TABLES
from ..tables.cells import SIMULATED
from .answer import answer, headline
from .blocks import RUN_FILE, Run, Section, text_uri
from .sections import cohort, images, provenance, tables, viewer

TEMPLATES = Path(__file__).parent / "templates"
FILES = {
    **{name: f"{name}.csv" for name in TABLES},
    "cases": "cases.tsv of the cohort",
    "splits": "splits.json of the cohort",
    "rejected": "rejected.tsv of the cohort",
    "remarks": "remarks.tsv of the cohort: what is odd about it as a whole",
    "reference_rejected": "reference_masks.rejected.tsv, where a folder of masks is the reference",
    "figures": "the figures of the study, PNG or SVG",
    "viewer": "volumes for the viewer, of pack_viewer",
    "synthetic": "cases.tsv of the synthetic cases, of every system and n_real",
    "synthetic_rejected": "draws that the gate refused, of every system and n_real",
    "reconstruction": "reconstruction.tsv of every autoencoder",
}
SECTIONS: list[Callable[[Run], Section | None]] = [
    tables.results,
    tables.exchange,
    tables.systems,
    images.case_figures,
    viewer.viewer,
    images.metrics,
    images.reconstruction,
    tables.control,
    tables.masks,
    tables.memorisation,
    tables.compute,
    tables.cost,
    cohort.gate,
    cohort.cohort,
    provenance.provenance,
]


def render(run: Run) -> str:
    """The HTML text. Raises UserError where a file is missing or does not hold what it should."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    sections = [section(run) for section in SECTIONS]
    return environment.get_template("report.html.jinja").render(
        title=f"SliceAug report: {run.config['run']}" if "run" in run.config else "SliceAug report",
        simulated=SIMULATED if run.simulated else "",
        headline=headline(run.table),
        answer=answer(run.table),
        run_file=RUN_FILE,
        run_yaml=text_uri(provenance.run_yaml(run)) if run.config else "",
        sections=[section for section in sections if section],
    )
