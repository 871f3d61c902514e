"""Put the cases of read_external through the gates of a train subset: quality, and copies of its cases.

Those that pass, by case id, are the system's synthetic cases: links to their folders beside --out, and the table --out.
Those that do not, and those that could not be read, are in --rejected, each with the reason. Config: regions and gate, as
synthesis.gate.
"""

import os
from collections import Counter
from pathlib import Path

from workflow_scripts.base.cli import Folder, log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.base.progress import track


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(
        __doc__,
        "train",
        "system",
        conditions="conditions.tsv of measure_tumours",
        read="cases.tsv of read_external",
        unread="rejected.tsv of read_external",
        out="table of the cases that pass",
        rejected="table of the others",
    )
    parser.add_argument(
        "--refuse-copies", action=Folder, help="folder of memorisation_reference, if copies are refused"
    )
    parser.add_argument(
        "--false-positive-rate", type=float, default=0.05, help="share of real patients taken for copies"
    )
    parser.add_argument("--needed", type=int, default=1, help="cases that the study's arms need")
    args = parser.parse_args(argv)

    import numpy as np
    import pandas as pd

    from workflow_scripts.cohort.nifti import read_synthetic_case
    from workflow_scripts.cohort.subset import Subset
    from workflow_scripts.diffusion.gate import Reason, judge
    from workflow_scripts.diffusion.training_set import read_conditions
    from workflow_scripts.memorisation.copy_gate import CopyGate
    from workflow_scripts.memorisation.reference import load_reference
    from workflow_scripts.study.generators import EXTERNAL
    from workflow_scripts.study.settings.cases import JudgeSettings

    settings, train = JudgeSettings.read(args.config, "synthesis"), Subset.open(args.train, "train")
    meta = train.store.meta(train.case_ids[0])
    table, seen = read_conditions(args.conditions, train.case_ids, settings.regions)
    about = {key: meta[key] for key in ("modalities", "written")}
    about |= {"name": args.system, "training_case_ids": train.case_ids, "generator": {"kind": EXTERNAL}}
    about |= {"grid": {key: meta[key] for key in ("size", "spacing_mm")}}
    gate = None
    if args.refuse_copies is not None:
        gate = CopyGate(load_reference(args.refuse_copies), args.false_positive_rate, about)
    read, unread = read_tsv(args.read), read_tsv(args.unread)
    order = {case_id: place for place, case_id in enumerate(sorted([*read.case_id, *unread.case_id]))}
    rows, refused, reasons = [], [], Counter(unread.kind)
    for row in unread.itertuples():
        refused.append({"number": order[row.case_id], "attempt": 0, "reason": row.reason, "case_id": row.case_id})
    with track(len(read), f"gates of {args.system}", "case") as bar:
        for case in read.sort_values("case_id").to_dict("records"):
            case_id = case["case_id"]
            image, levels = read_synthetic_case(args.read.parent / case_id, case_id, meta["modalities"])
            foreground = (image > -1.0).any(axis=0) if meta["written"]["background"] else np.ones(levels.shape, bool)
            verdict = judge(levels, foreground, meta["spacing_mm"], table, seen, settings.gate, settings.regions)
            found: list[Reason] = list(verdict.reasons) or (
                gate(image, np.where(foreground, levels, 0)) if gate else []
            )
            measured = {f"measured_{name}": value for name, value in (verdict.measured or {}).items()}
            if found:
                reasons.update(reason.kind for reason in found)
                row = {"number": order[case_id], "attempt": 0, "reason": "; ".join(found), "case_id": case_id}
                refused.append(row | measured)
            else:
                origin = {key: value for key, value in case.items() if key in KEPT and value == value}
                rows.append({"case_id": case_id, "number": len(rows), "attempts": 1, **origin, **measured})
            bar.update(1)
    columns = ["number", "attempt", "reason", "case_id", *(f"measured_{name}" for name in table.names)]
    rejected = pd.DataFrame(refused, columns=columns).sort_values("number")
    enough = len(rows) >= args.needed
    # Snakemake deletes the declared outputs of a failed job: what explains the failure goes beside them.
    failed = args.rejected.with_suffix(".failed.tsv")
    failed.unlink(missing_ok=True)
    write_tsv(args.rejected if enough else failed, rejected)
    if not enough:
        raise UserError(_too_few(args, len(rows), len(rejected), reasons, failed))
    _link([row["case_id"] for row in rows], args.read.parent, args.out.parent)
    write_tsv(args.out, pd.DataFrame(rows))
    log.info("%s: %d cases pass the gates, %d do not (%s)", args.system, len(rows), len(rejected), args.rejected)


KEPT = ("provenance", "source_file", "source_digest", "use")


def _too_few(args, passed: int, refused: int, reasons: Counter, table: Path) -> str:
    why = "; ".join(f"{count} x {kind}" for kind, count in reasons.most_common(5))
    what = f"system {args.system} has {passed} cases that pass, but the arms need {args.needed}"
    what += f": {refused} were refused ({why}), each listed in {table}" if refused else ""
    return (
        f"{what}. Put more cases into its folder, lower segmentation.ratios and synthetic_only_ratios, or loosen the keys of "
        "synthesis.gate that the reasons name"
    )


def _link(case_ids: list[str], source: Path, folder: Path) -> None:
    """Links in `folder` to the folders of these cases, and to no other."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in folder.iterdir():
        if entry.is_symlink():
            entry.unlink()
    for case_id in case_ids:
        (folder / case_id).symlink_to(os.path.relpath(source / case_id, folder))


if __name__ == "__main__":
    run_program(main)
