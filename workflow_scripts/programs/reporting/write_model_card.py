"""Write the card of a trained generator, README.md in its folder, and in configs/ beside it what makes the folder a MONAI bundle."""

from pathlib import Path

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.base.files import read_json, sha256_file, write_json, write_text
from workflow_scripts.reporting.bundle import inference, metadata
from workflow_scripts.reporting.datasheet import model_card


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, "model", out="the card")
    parser.add_argument("--release", type=Path, required=True, help="release.json of the generator")
    parser.add_argument("--simulated", action="store_true", help="the training cases are simulated")
    args = parser.parse_args(argv)
    contract = args.model / "model.json"
    about, digest = read_json(contract), sha256_file(contract)
    write_json(args.out.parent / "configs/metadata.json", metadata(about, digest))
    write_json(args.out.parent / "configs/inference.json", inference())
    write_text(args.out, model_card(about, read_json(args.release), digest, args.simulated))


if __name__ == "__main__":
    run_program(main)
