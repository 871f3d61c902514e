"""Make synthetic patients from a trained generator: NIfTI files, image and tumour mask together.

  python -m workflow_scripts.programs.synthesis.synthesize --model results/full/n_real~100/generator/slice_ldm --count 50 --out DIR
  python -m workflow_scripts.programs.synthesis.synthesize --model ... --requests tumours.csv --out DIR

tumours.csv has a row a case and any of these columns: volume_ml, surface_mm2, sphericity, centroid_x_mm (right +),
centroid_y_mm (anterior +), centroid_z_mm (superior +), box_width_mm, box_height_mm, box_depth_mm, and
<region>_fraction of an inner region; what is left empty is drawn. Case i depends on the seed and i alone: --first goes on where an
earlier call ended. A generator that puts tumours into training patients takes them from the manifest of its train subset,
--train; the column host of tumours.csv may name one of them. Tables of the cases, and of the draws that the quality gate
refused, are written beside them. Sampler, gates and the refusal of copies are those that the study released its cases by
(release.json in the model folder), but for what --config and --allow-copies say; OUT/cases.made.json notes them.
--refuse-copies FOLDER names another training set, made by memorisation_reference.
"""

import argparse
from collections import Counter
from pathlib import Path

from workflow_scripts.base.cli import Folder, log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import write_json, write_tsv
from workflow_scripts.base.progress import track

NO_RELEASE = "the model's folder has no release.json, which a study leaves there; --refuse-copies names a training set"


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, "model", out="folder for the cases, one folder each")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--count", type=_whole, help="how many cases to make")
    which.add_argument("--requests", type=Path, help="CSV of requested tumours, a row a case")
    which.add_argument("--block", type=_whole, help="make this block of cases, counted from 0")
    parser.add_argument("--block-size", type=_whole, help="cases in a block (from the config, or 10)")
    parser.add_argument("--first", type=_whole, default=0, help="number of the first case (0)")
    parser.add_argument("--table", type=Path, help="table of the cases (OUT/cases.tsv or OUT/blocks/BLOCK.tsv)")
    parser.add_argument("--rejected", type=Path, help="table of the refused draws (beside it)")
    parser.add_argument(
        "--allow-extrapolation",
        action="store_true",
        help="accept requests outside of the training range; the gate then ignores that range",
    )
    parser.add_argument("--train", type=Path, help="manifest.json of the train subset, for tumours in its patients")
    parser.add_argument(
        "--refuse-copies", action=Folder, help="folder of the training set, made by memorisation_reference"
    )
    parser.add_argument(
        "--allow-copies", action="store_true", help="do not refuse copies, whatever release.json of the model says"
    )
    parser.add_argument("--false-positive-rate", type=_rate, help="share of real patients taken for copies (0.05)")
    args = parser.parse_args(argv)
    if args.allow_copies and args.refuse_copies is not None:
        raise UserError("--allow-copies and --refuse-copies contradict each other: give one of them")

    from workflow_scripts.cohort.nifti import write_case
    from workflow_scripts.cohort.subset import Subset
    from workflow_scripts.diffusion.kinds import load_generator
    from workflow_scripts.diffusion.requests import read_requests
    from workflow_scripts.diffusion.synthesis import Case, synthesise
    from workflow_scripts.memorisation.copy_gate import CopyGate
    from workflow_scripts.memorisation.reference import load_reference
    from workflow_scripts.memorisation.release import read_release
    from workflow_scripts.study.dataset import parse_written
    from workflow_scripts.study.generators import KINDS
    from workflow_scripts.study.settings.files import merge
    from workflow_scripts.study.settings.synthesis import SynthesisSettings
    from workflow_scripts.training.devices import default_device, describe, resolve_precision, use_threads
    from workflow_scripts.training.model_files import contract_digest

    use_threads(args.threads)
    released, copies, rate = (
        ({}, None, None) if args.block is not None else read_release(args.model, refusing=not args.allow_copies)
    )
    if args.refuse_copies is not None:
        copies, rate = args.refuse_copies, None
    settings = SynthesisSettings.read(merge(released, args.config), "synthesis")
    device = default_device()
    train = Subset.open(args.train, "train") if args.train else None
    generator = load_generator(args.model, settings, device, train)
    contract, names = generator.contract, generator.conditions.names
    kind = KINDS[contract["generator"]["kind"]]
    if kind.hosts and generator.hosts is None:
        raise UserError(f"{contract['name']} puts tumours into training patients: give --train, their manifest.json")
    written = parse_written(contract["written"], args.model)
    gate = None
    if copies is not None:
        rate = args.false_positive_rate or rate or 0.05
        gate = CopyGate(load_reference(copies), rate, contract)
    elif args.block is None and not kind.hosts:
        log.warning(
            "copies of training cases are not refused: %s", "--allow-copies" if args.allow_copies else NO_RELEASE
        )
    requests = {}
    if args.requests is not None:
        hosts = generator.hosts.case_ids if generator.hosts else None
        rows = read_requests(args.requests, generator.conditions, args.allow_extrapolation, hosts)
        requests = dict(enumerate(rows, args.first))
        numbers = list(requests)
    elif args.block is not None:
        size = settings.block_size if args.block_size is None else args.block_size
        numbers = list(range(args.block * size, (args.block + 1) * size))
    else:
        numbers = list(range(args.first, args.first + args.count))
    if not numbers:
        raise UserError("no case is asked for: --count and --block-size must be 1 or more")
    stem = "cases" if args.block is None else f"blocks/{args.block}"
    table = args.table or args.out / f"{stem}.tsv"
    rejected = args.rejected or table.with_name("rejected.tsv" if args.block is None else f"{args.block}.rejected.tsv")
    log.info(
        "%s: %d cases of %s voxels, %s, on %s",
        contract["name"],
        len(numbers),
        "x".join(map(str, contract["grid"]["size"])),
        generator.describe(),
        describe(device, resolve_precision(settings.precision, device)),
    )
    cases, refusals = [], []
    with track(len(numbers), "synthesizing", "case") as bar:
        for made in synthesise(generator, numbers, settings, requests, args.allow_extrapolation, gate):
            if not isinstance(made, Case):
                refusals.append(made)
                bar.update(int(made.last), refused=len(refusals))
                continue
            case_id = f"{settings.case_prefix}-{made.number:05d}-000"
            origins = _origins(kind, made)
            arrays = made.image, made.levels, made.affine
            write_case(args.out / case_id, case_id, *arrays, contract["modalities"], written, origins)
            cases.append(_case_row(case_id, made, names, origins))
            bar.update(1, refused=len(refusals))
    # Snakemake deletes the declared outputs of a failed job: what explains the failure goes beside them.
    failed = rejected.with_suffix(".failed.tsv")
    failed.unlink(missing_ok=True)
    write_tsv(failed if len(cases) < len(numbers) else rejected, _refusal_table(refusals, names, kind))
    _check_enough(len(cases), refusals, settings.max_redraws, failed)
    write_tsv(table, _case_table(cases, names, kind))
    if args.block is None:
        how = {
            "model": contract["name"],
            "model_sha256": contract_digest(args.model),
            "settings": settings.model_dump(),
        }
        write_json(table.with_suffix(".made.json"), how | {"copies_refused_at_rate": rate if gate else None})
    log.info(
        "%d synthetic cases are in %s, listed in %s; the quality gate refused %d draws (%s)",
        *(len(cases), args.out, table, len(refusals), rejected),
    )


def _whole(text: str) -> int:
    """A whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number, 0 or more")
    return int(text)


def _rate(text: str) -> float:
    """A share above 0 and below 1; not nan, of which no case would be found a copy."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share above 0 and below 1")
    return rate


def _origins(kind, made) -> dict:
    """What is said of a case that is made of training cases: which, and what it is for."""
    from workflow_scripts.study.generators import AUGMENTATION_ONLY, USE

    return {name: getattr(made, name) for name in kind.origins} | ({USE: AUGMENTATION_ONLY} if kind.hosts else {})


def _case_row(case_id: str, case, names, origins: dict) -> dict:
    row = {"case_id": case_id, "number": case.number, "attempts": case.attempts, **origins}
    row |= {f"requested_{name}": case.requested[name] for name in names}
    return row | {f"measured_{name}": case.measured[name] for name in names}


def _case_table(rows: list[dict], names, kind):
    import pandas as pd

    from workflow_scripts.study.generators import USE

    conditions = [f"{which}_{name}" for which in ("requested", "measured") for name in names]
    origins = [*kind.origins, USE] if kind.hosts else []
    columns = ["case_id", "number", "attempts", *origins, *conditions]
    return pd.DataFrame(rows, columns=columns).sort_values("number")


def _refusal_table(refusals: list, names, kind):
    import pandas as pd

    rows = [
        {"number": refusal.number, "attempt": refusal.attempt, "reason": "; ".join(refusal.reasons)}
        | {name: getattr(refusal, name) for name in kind.origins}
        | {f"measured_{name}": value for name, value in (refusal.measured or {}).items()}
        for refusal in refusals
    ]
    columns = ["number", "attempt", "reason", *kind.origins, *(f"measured_{name}" for name in names)]
    return pd.DataFrame(rows, columns=columns).sort_values(["number", "attempt"])


def _check_enough(made: int, refusals: list, max_redraws: int, rejected: Path) -> None:
    """Raise UserError if cases were given up: an arm needs all of its cases."""
    from workflow_scripts.memorisation.copy_gate import COPY_KIND

    given_up = [refusal.number for refusal in refusals if refusal.last]
    if not given_up:
        return
    reasons = Counter(reason.kind for refusal in refusals for reason in refusal.reasons)
    listed = "; ".join(f"{count} x {kind}" for kind, count in reasons.most_common(5))
    numbers = ", ".join(map(str, given_up[:10])) + (" ..." if len(given_up) > 10 else "")
    advice = []
    if set(reasons) - {COPY_KIND}:
        advice.append(
            "Train the generator longer (diffusion.training.steps), or raise synthesis.max_redraws (now "
            f"{max_redraws}), or loosen the keys of synthesis.gate that the reasons name"
        )
    if COPY_KIND in reasons:
        advice.append(
            "Against copies: train the generator for fewer steps or on more patients, or raise synthesis.max_redraws "
            f"(now {max_redraws}); `memorisation: {{action: warn}}` releases copies and lists them"
        )
    raise UserError(
        f"the quality gate refused every draw of {len(given_up)} of {made + len(given_up)} cases (numbers {numbers}; "
        f"{max_redraws + 1} draws each): {listed}. Each draw is listed in {rejected}. {'. '.join(advice)}"
    )


if __name__ == "__main__":
    run_program(main)
