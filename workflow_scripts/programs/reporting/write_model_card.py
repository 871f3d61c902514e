"""Write the card of a trained generator, README.md in its folder."""

from pathlib import Path

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.files import read_json, sha256_file, write_text
from workflow_scripts.reporting.datasheet import model_card


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, "model", out="the card")
    parser.add_argument("--release", type=Path, required=True, help="release.json of the generator")
    parser.add_argument("--simulated", action="store_true", help="the training cases are simulated")
    args = parser.parse_args(argv)
    contract = args.model / "model.json"
    card = model_card(read_json(contract), read_json(args.release), sha256_file(contract), args.simulated)
    write_text(args.out, card)


if __name__ == "__main__":
    run_program(main)
