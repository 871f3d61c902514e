"""Copy the ended trainings of a run, curves and scores, into MLflow or Weights & Biases: offline, into a folder.

  python -m workflow_scripts.programs.reporting.track_run --run results/full --tracker mlflow --out results/full/tracking/mlflow.txt

By hand at any time; with the key `tracking` at the end of a study. What is there already is not copied again.
"""

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import write_text
from workflow_scripts.reporting.tracking import TRACKERS, copy_to, ended_trainings


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, run="folder of the run", out="list of the trainings, beside the tracker's folder")
    parser.add_argument("--tracker", choices=TRACKERS, required=True)
    args = parser.parse_args(argv)
    trainings = ended_trainings(args.run)
    if not trainings:
        raise UserError(f"{args.run} holds no training that has ended: give the folder results/<run> of a study")
    folder = args.out.parent / args.tracker
    new = copy_to(args.tracker, trainings, folder)
    write_text(args.out, "".join(f"{training.name}\t{training.digest}\n" for training in trainings))
    log.info("%d trainings, %d of them new, are in %s", len(trainings), new, folder)


if __name__ == "__main__":
    run_program(main)
