"""The floors of the house: imports point one way, and an edit reruns the stages above it and no other."""

from __future__ import annotations

import shutil

import pytest
from workflow import ROOT

import workflow_scripts.base.provenance as provenance
from workflow_scripts.reporting.registry import FIGURES, TABLES
from workflow_scripts.study.generators import KINDS
from workflow_scripts.study.segmenters import SEGMENTERS, module_of

# From the ground up. Rooms of one floor do not see each other.
FLOORS = (
    ("base",),
    ("study",),
    ("cohort",),
    ("models",),
    ("training",),
    ("diffusion",),
    ("mixing", "memorisation", "segmentation"),
    ("evaluation",),
    ("reporting",),
    ("operations",),
    ("programs",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
PACKAGE = ROOT / "workflow_scripts"


def modules() -> list[str]:
    found = (path.relative_to(ROOT).with_suffix("").parts for path in PACKAGE.rglob("*.py"))
    return sorted(".".join(parts) for parts in found if parts[-1] != "__init__")


def room_of(module: str) -> str:
    return module.split(".")[1]


def test_imports_point_down():
    wrong = set()
    for module in modules():
        for name in provenance._module(module)[1]:
            if "." in name and name.count(".") >= 1:
                here, there = room_of(module), room_of(name)
                if FLOOR[there] > FLOOR[here] or (FLOOR[there] == FLOOR[here] and here != there):
                    wrong.add((module, name))
    assert not wrong


def test_a_program_imports_no_program():
    programs = {module for module in modules() if room_of(module) == "programs"}
    assert len(programs) > 25
    assert not [(name, other) for name in programs for other in provenance._module(name)[1] & programs]


SEGMENTER_STAGES = {
    "plan_segmentation": "plan",
    "pool_real": "pool",
    "pool_synthetic": "pool",
    "train_segmentation": "train",
    "predict_segmentation": "predict",
}


MADE = {name: kind for name, kind in KINDS.items() if not kind.external}  # the kinds that have code
GENERATOR_STAGES = ("train_generator", "synthesize", "evaluate_control", "sample_control_sweep")
GENERATOR_STAGES += ("measure_cost", "audit_memorisation")


def of_kinds(*programs: str, kinds=tuple(MADE)) -> set[str]:
    """The stages of these programs that work with generators of these kinds."""
    return {f"{program} {kind}" for program in programs for kind in kinds}


def stages() -> dict[str, list[str]]:
    """Stage -> its program and what that loads by name, as the rules give them to `code_digest`.

    What people start by hand, the programs of `operations`, is no stage.
    """
    jobs = [m.split(".", 1)[1] for m in modules() if room_of(m) == "programs" and m.split(".")[2] != "operations"]
    programs = {program.split(".")[-1]: program for program in jobs}
    found = {name: [program] for name, program in programs.items()}
    for program, kind, names in (("make_table", "tables", TABLES), ("make_figure", "figures", FIGURES)):
        found |= {f"{program} {name}": [programs[program], f"reporting.{kind}.{name}"] for name in names}
        del found[program]
    found["make_table compute"] += [kind.module for kind in MADE.values()]
    for program in GENERATOR_STAGES:
        found |= {f"{program} {name}": [programs[program], kind.module] for name, kind in MADE.items()}
        del found[program]
    for program, stage in SEGMENTER_STAGES.items():
        found |= {f"{program} {name}": [programs[program], module_of(name, stage)] for name in SEGMENTERS}
        del found[program]
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the code, by which digests are computed."""
    root = tmp_path_factory.mktemp("floors")
    shutil.copytree(PACKAGE, root / "workflow_scripts", ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "ROOT", root)
        patch.setattr(provenance, "REMEMBERED", root / "code_digests.json")
        yield root
    forget()


def forget() -> None:
    for function in (provenance._remembered, provenance.code_digest, provenance._module, provenance._file_digest):
        function.cache_clear()


def digests() -> dict[str, list[str]]:
    forget()
    return {
        stage: [provenance.code_digest(f"workflow_scripts.{module}") for module in found]
        for stage, found in stages().items()
    }


TRAINED = of_kinds("train_generator")
TRAININGS = {"train_autoencoder", *TRAINED}
SAMPLERS = of_kinds("synthesize", "evaluate_control", "sample_control_sweep", "measure_cost")
ALL_TABLES, ALL_FIGURES = {f"make_table {name}" for name in TABLES}, {f"make_figure {name}" for name in FIGURES}
SEGMENTATIONS = {f"{program} {name}" for program in SEGMENTER_STAGES for name in SEGMENTERS}
OF_IMAGES = {"make_table images", "make_table systems", "make_report"}
NETWORKS = of_kinds(*GENERATOR_STAGES, kinds=("diffusion", "gan", "editing"))
AUDITS = {"memorisation_reference", "calibrate_memorisation", *of_kinds("audit_memorisation")}


@pytest.mark.parametrize(
    ("module", "may_change"),
    [
        ("evaluation/audit.py", AUDITS),
        ("evaluation/memorisation_control.py", AUDITS),
        ("memorisation/copy_gate.py", {*of_kinds("synthesize"), "judge_external", *AUDITS}),
        ("memorisation/conformal.py", {*of_kinds("synthesize"), "judge_external", *AUDITS}),
        ("reporting/figures/style.py", {*ALL_FIGURES, "pack_viewer", "make_report"}),
        ("reporting/figures/control_sweep.py", {"make_figure control_sweep"}),
        ("reporting/tables/images.py", OF_IMAGES),
        ("reporting/tables/cost.py", {"make_table cost", "make_report"}),
        ("reporting/tables/text.py", {*ALL_TABLES, *ALL_FIGURES, "make_report"}),
        ("reporting/registry.py", {*ALL_TABLES, *ALL_FIGURES, "make_report", "pool_folds"}),
        ("reporting/report/templates/report.css", {"make_report", "pack_viewer"}),
        ("evaluation/reconstruction.py", {"measure_reconstruction"}),
        ("evaluation/system_cost.py", {"make_table compute", "make_report"}),
        ("evaluation/lesions.py", {"score_segmentation", "make_table augmentation_ratio", "make_report"}),
        ("evaluation/statistics/two_sample.py", {"evaluate_masks", "make_table masks", "make_table control", "make_report"}),
        ("evaluation/frechet.py", {"evaluate_images", *OF_IMAGES}),
        ("evaluation/metrics/kernels.py", {"evaluate_images", *OF_IMAGES}),
        ("evaluation/statistics/verdict.py", {"make_report"}),
        ("segmentation/nnunet/trainer.py", {name for name in SEGMENTATIONS if name.endswith(" nnunet")}),
        ("diffusion/gate.py", {*SAMPLERS, "judge_external", *AUDITS, "measure_reconstruction", "reconstruct_others"}),
        ("diffusion/samplers.py", {*NETWORKS, "make_table compute"}),
        ("diffusion/denoising.py", {*of_kinds(*GENERATOR_STAGES, kinds=["diffusion", "editing"]), "make_table compute"}),
        ("mixing/carving.py", {*of_kinds(*GENERATOR_STAGES, kinds=["carvemix"]), "make_table compute"}),
        ("operations/status_text.py", set()),
        ("cohort/checks.py", {"find_cases", "preprocess", "merge_cohort", "measure_reference_masks", "read_external", "predict_patients"}),
    ],
)  # fmt: skip
def test_an_edit_reruns_what_stands_above_it_and_nothing_else(project, module, may_change):
    path = project / "workflow_scripts" / module
    before, text = digests(), path.read_text()
    path.write_text(f"{text}\nEDITED = 1\n")
    changed = {stage for stage, found in digests().items() if found != before[stage]}
    path.write_text(text)
    assert changed <= may_change, f"{module} also reruns {', '.join(sorted(changed - may_change))}"
    assert changed or not may_change, "an edit that nobody notices"
    assert not changed & TRAININGS or TRAINED & may_change
