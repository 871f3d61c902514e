"""Join the blocks of synthetic cases: one table of the cases, one of the draws that the quality gate refused.

With --release the model's folder is given how these cases were released (--config: the settings of synthesize): sampler,
gates, and the training set against which copies are refused.
"""

from pathlib import Path

from workflow_scripts.base.cli import Folder, log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.memorisation.release import write_release


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, cases="table of all cases", rejected="table of all refused draws")
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="tables of the blocks' cases")
    parser.add_argument("--rejected-tables", type=Path, nargs="+", required=True, help="tables of the refused draws")
    parser.add_argument("--release", type=Path, help="release.json to write, in the model's folder")
    parser.add_argument("--model", nargs="+", help="files of the model")
    parser.add_argument(
        "--refuse-copies", action=Folder, help="folder of memorisation_reference, if copies are refused"
    )
    parser.add_argument("--false-positive-rate", type=float, help="share of real patients taken for copies")
    args = parser.parse_args(argv)

    cases, refused = _joined(args.tables, ["number"]), _joined(args.rejected_tables, ["number", "attempt"])
    write_tsv(args.rejected, refused)
    write_tsv(args.cases, cases)
    if args.release is not None:
        write_release(args.release.parent, args.config, args.refuse_copies, args.false_positive_rate)
    log.info("%d synthetic cases, %d refused draws", len(cases), len(refused))


def _joined(paths: list[Path], key: list[str]):
    """The rows of all tables, by number. Raises UserError where two blocks hold the same, or columns differ."""
    import pandas as pd

    tables = [read_tsv(path) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        if list(table.columns) != list(tables[0].columns):
            raise UserError(f"{path} has other columns than {paths[0]}: make both blocks again with one model")
    filled = [table for table in tables if len(table)]
    joined = pd.concat(filled) if filled else tables[0]
    twice = joined[joined.duplicated(key)]
    if len(twice):
        raise UserError(f"case number {int(twice['number'].iloc[0])} is in two of the tables: blocks must not overlap")
    return joined.sort_values(key)


if __name__ == "__main__":
    run_program(main)
