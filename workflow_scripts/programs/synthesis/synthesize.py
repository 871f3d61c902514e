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
from pathlib import Path

from workflow_scripts.base.cli import Folder, log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.progress import track


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

    from workflow_scripts.diffusion.requests import read_requests
    from workflow_scripts.memorisation.made_cases import MadeCases
    from workflow_scripts.memorisation.released import Copies, Released
    from workflow_scripts.training.devices import describe, resolve_precision, use_threads

    use_threads(args.threads)
    in_study = args.block is not None
    copies = Copies(args.refuse_copies, args.allow_copies, args.false_positive_rate)
    released = Released.load(args.model, args.config, args.train, copies, in_study=in_study)
    generator, settings, requests = released.generator, released.settings, {}
    if args.requests is not None:
        rows = read_requests(args.requests, generator.conditions, args.allow_extrapolation, released.hosts)
        requests = dict(enumerate(rows, args.first))
        numbers = list(requests)
    elif in_study:
        size = settings.block_size if args.block_size is None else args.block_size
        numbers = list(range(args.block * size, (args.block + 1) * size))
    else:
        numbers = list(range(args.first, args.first + args.count))
    if not numbers:
        raise UserError("no case is asked for: --count and --block-size must be 1 or more")
    stem = f"blocks/{args.block}" if in_study else "cases"
    table = args.table or args.out / f"{stem}.tsv"
    rejected = args.rejected or table.with_name(f"{args.block}.rejected.tsv" if in_study else "rejected.tsv")
    log.info(
        "%s: %d cases of %s voxels, %s, on %s",
        generator.contract["name"],
        len(numbers),
        "x".join(map(str, generator.contract["grid"]["size"])),
        generator.describe(),
        describe(generator.device, resolve_precision(settings.precision, generator.device)),
    )
    made = MadeCases(released, len(numbers), args.out)
    with track(len(numbers), "synthesizing", "case") as bar:
        for draw in released.draws(numbers, requests, args.allow_extrapolation):
            bar.update(made.add(draw), refused=len(made.refusals))
    made.write(table, rejected)
    if not in_study:
        made.write_how(table.with_suffix(".made.json"), args.model)
    log.info(
        "%d synthetic cases are in %s, listed in %s; the quality gate refused %d draws (%s)",
        *(len(made.rows), args.out, table, len(made.refusals), rejected),
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


if __name__ == "__main__":
    run_program(main)
