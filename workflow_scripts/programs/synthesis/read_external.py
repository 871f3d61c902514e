"""Read the cases of somebody else's generator: find, check and put them on the study's grid, once for all train subsets.

Writes each as a synthetic case <system>_<its id> beside --out, the table --out (a row a case: where it is from, and what is wrong with its
mask) and --rejected (a row a refused case: file and reason). A case whose images are those of a patient of --cohort, or of
another case, is refused. Config: as of preprocess, and regions.
"""

from pathlib import Path

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import BadCase, UserError
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.base.progress import track


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(
        __doc__,
        "system",
        cohort="cases.tsv of the cohort",
        cases="folder of the external cases",
        out="table of the cases",
        rejected="table of the refused cases",
    )
    args = parser.parse_args(argv)

    import pandas as pd

    from workflow_scripts.cohort.external import read_external_case
    from workflow_scripts.cohort.layouts import find_cases
    from workflow_scripts.cohort.nifti import write_case
    from workflow_scripts.cohort.tables import refusals, rejected_table
    from workflow_scripts.evaluation.mask_validity import validity
    from workflow_scripts.study.settings.cases import ExternalSettings

    settings = ExternalSettings.read(args.config)
    dataset, modalities = settings.dataset, settings.modalities
    grid = settings.spacing_mm, settings.size
    cohort = read_tsv(args.cohort)
    taken = dict(zip(cohort["content_digest"], "case " + cohort["case_id"] + " of the cohort", strict=True))
    found, refused, _ = find_cases(Path.cwd() / args.cases, dataset, modalities)
    rows = []
    with track(len(found), f"reading cases of {args.system}", "case") as bar:
        for files in found:
            with refusals(refused, settings.on_bad_case):
                case = read_external_case(files, dataset, modalities, settings.regions, *grid)
                if twin := taken.get(case.content_digest):
                    what = f"its images are those of {twin}, voxel by voxel"
                    raise BadCase(case.case_id, files.paths["seg"], what, "Leave it out", "duplicate")
                taken[case.content_digest] = f"case {case.case_id}"
                case_id = f"{args.system}_{case.case_id}"  # such cases are often named after a patient of the cohort
                arrays = case.image, case.levels, case.affine
                write_case(args.out.parent / case_id, case_id, *arrays, modalities, dataset.written, case.about)
                background = dataset.foreground.rule != "none"
                foreground = case.foreground if background else case.levels >= 0
                rows.append({"case_id": case_id, **case.about, "content_digest": case.content_digest})
                rows[-1] |= {**validity(case.levels, foreground), "note": case.note}
            bar.update(1)
    if refused and settings.on_bad_case == "fail":
        raise refused[0]
    if not rows:
        raise UserError(
            f"{args.cases} holds no case that could be used. The first of {len(refused)} refused: {refused[0]}"
        )
    write_tsv(args.rejected, rejected_table(sorted(refused, key=lambda bad: bad.case_id)))
    write_tsv(args.out, pd.DataFrame(rows))
    log.info("%s: %d cases read, %d refused (%s)", args.system, len(rows), len(refused), args.rejected)


if __name__ == "__main__":
    run_program(main)
