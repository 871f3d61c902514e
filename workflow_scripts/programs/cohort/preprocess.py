"""Check and preprocess one shard of the cases: volumes, a row a case, and a row a refused case.

Config: {"dataset": {...}, "modalities": [...], "spacing_mm": [z, y, x], "size": [D, H, W], "on_bad_case": "reject"}.
Shard K of S takes cases K, K + S, K + 2S, ... of found.tsv, K from 0. Killed and run again, it writes the same files.
"""

from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import BadCase, UserError
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.base.progress import track
from workflow_scripts.cohort.checks import load_case
from workflow_scripts.cohort.preprocess import preprocess_case
from workflow_scripts.cohort.tables import case_row, files_of, passed_table, rejected_table
from workflow_scripts.cohort.volumes import VolumeStore
from workflow_scripts.study.settings.cases import GridSettings


def main(argv: Sequence[str] | None = None) -> None:
    parser = program_parser(__doc__)
    parser.add_argument("--found", required=True, help="found.tsv of find_cases")
    parser.add_argument("--shard", type=int, required=True, help="number of this shard, from 0")
    parser.add_argument("--shards", type=int, required=True, help="number of shards")
    parser.add_argument("--volumes", required=True, help="folder of the volumes, shared by all shards")
    parser.add_argument("--out", required=True, help="table to write: a row a case that passed")
    parser.add_argument("--rejected", required=True, help="table to write: a row a refused case")
    args = parser.parse_args(argv)
    settings = GridSettings.read(args.config)
    if not 0 <= args.shard < args.shards:
        raise UserError(f"--shard {args.shard} is not among 0 to {args.shards - 1}")
    dataset, modalities = settings.dataset, settings.modalities
    store = VolumeStore(args.volumes)
    rows = read_tsv(args.found).to_dict("records")[args.shard :: args.shards]
    passed, refused = [], []
    with track(len(rows), f"preprocessing, shard {args.shard} of {args.shards}", unit="case") as bar:
        for row in rows:
            files = files_of(row, dataset, modalities, Path(args.found).parent)
            try:
                case = load_case(files, dataset, modalities)
                store.save(files.case_id, *preprocess_case(case, dataset, settings.spacing_mm, settings.size))
                passed.append(case_row(files_of(row, dataset, modalities), case))
            except BadCase as bad:
                if settings.on_bad_case == "fail":
                    raise
                log.info("refused: %s", bad)
                store.remove(files.case_id)
                refused.append(bad)
            bar.update(1)
    write_tsv(args.rejected, rejected_table(refused))
    write_tsv(args.out, passed_table(passed, dataset, modalities))


if __name__ == "__main__":
    run_program(main)
