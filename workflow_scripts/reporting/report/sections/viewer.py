"""Report: the viewer, in which one scrolls through whole volumes."""

import base64
import gzip
from pathlib import Path

from ....base.files import read_json
from ...looks import region_colour, region_name
from ..blocks import Code, Details, MadeBy, Notes, Run, Section, Text, Viewer

VENDOR = Path(__file__).parents[1] / "vendor"
_KINDS = {"real": "real patient", "simulated": "simulated patient", "synthetic": "synthetic, of"}


def _label(case: dict) -> str:
    return " ".join(word for word in (_KINDS[case["kind"]], case["system"] + ":" * bool(case["system"])) if word) + (
        f" {case['case_id']}"
    )


def _captions(packed: dict) -> list[str]:
    """Which cases these are, whose they are not, and how finely they are sampled."""
    kinds = [case["kind"] for case in packed["cases"]]
    patients = [kind for kind in kinds if kind != "synthetic"]
    said = f"{kinds.count('synthetic')} synthetic cases, the first ones of each system by number"
    if patients:
        said += f", and {len(patients)} {patients[0]} training patients, a seeded draw: none is picked for its looks"
    sentences = [f"{said} (n_real = {packed['n_real']})."]
    if not patients:
        sentences.append(
            "Volumes of real patients, and of cases that are made in one, are left out, since a report is easily passed on; "
            "evaluation.report.real_volumes: true takes them in."
        )
    edges = " x ".join(f"{edge:g}" for edge in packed["spacing_mm"])
    if packed["step"] > 1:
        sentences.append(
            f"Coarser than they are: voxels of {edges} mm, each the mean of {packed['step']} x {packed['step']} x "
            f"{packed['step']}, so that all volumes fit into evaluation.report.viewer_megabytes: "
            f"{packed['viewer_megabytes']:g}. A mask covers a voxel of which it fills more than half."
        )
    else:
        sentences.append(f"Every voxel of the preprocessed volumes, {edges} mm, cropped to the head.")
    return [*sentences, "Grey values in 256 steps, black to white over the normalised range of every case."]


def viewer(run: Run) -> Section | None:
    """The viewer with its volumes, or why there is none."""
    files = run.paths("viewer")
    if not files:
        return None
    packed, title = read_json(files[0]), "Look through the volumes"
    limit = f"evaluation.report.viewer_megabytes: {packed['viewer_megabytes']:g}"
    if not packed["viewer_megabytes"]:
        return Section("viewer", title, [Text(f"There is no viewer in this report ({limit}).")])
    if not packed["cases"]:
        return Section("viewer", title, [Text(f"The volumes take more than {limit}, however coarse they are sampled.")])
    code = gzip.compress((VENDOR / "niivue.umd.js").read_bytes(), compresslevel=9, mtime=0)
    modality = dict(run.settings("evaluation.figures.modality")).get("evaluation.figures.modality")
    block = Viewer(
        cases=[{**case, "label": _label(case)} for case in packed["cases"]],
        modalities=sorted(packed["modalities"], key=lambda name: name != modality),
        regions=[(region_name(name), region_colour(name, place)) for place, name in enumerate(packed["regions"])],
        niivue=base64.b64encode(code).decode(),
    )
    keys = [f"evaluation.{key}" for key in ("figures.cases", "report.viewer_megabytes", "report.real_volumes")]
    return Section(
        "viewer",
        title,
        [
            block,
            Notes(_captions(packed)),
            Details("How it was made", [MadeBy("reporting.pack_viewer", run.settings(*keys), files)]),
            Details("The viewer is NiiVue: its licence", [Code((VENDOR / "LICENSE").read_text(encoding="utf-8"))]),
        ],
    )
