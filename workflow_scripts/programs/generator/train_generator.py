"""Train the generator of a system on the train subset, under the conditions of its tumours.

Over the latents of an autoencoder (--latents, --autoencoder), or over the volumes themselves (--train), as its kind
goes; one that draws with the model of another system takes that (--model), and learns nothing. Writes a self-contained model to --out: model.safetensors (averaged weights of the network, the autoencoder, the
table of training conditions), model.json, loss.csv.
"""

from pathlib import Path

from workflow_scripts.base.cli import Folder, program_parser, run_program


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, "state", conditions="conditions.tsv of measure_tumours")
    parser.add_argument("--latents", action=Folder, help="folder of extract_latents")
    parser.add_argument("--autoencoder", action=Folder, help="folder of train_autoencoder")
    parser.add_argument("--train", type=Path, help="manifest.json of the train subset, for a system in voxel space")
    parser.add_argument("--val", type=Path, help="manifest.json of the validation subset, by which a step is chosen")
    parser.add_argument("--model", action=Folder, help="folder of the trained generator that it draws with")
    parser.add_argument("--out", action=Folder, required=True, help="folder of the trained generator")
    args = parser.parse_args(argv)

    from workflow_scripts.cohort.subset import Subset
    from workflow_scripts.diffusion.kinds import kind_of
    from workflow_scripts.diffusion.training_set import TrainingFiles
    from workflow_scripts.study.generators import read_training
    from workflow_scripts.training.devices import use_threads

    use_threads(args.threads)
    train = Subset.open(args.train, "train") if args.train else None
    val = Subset.open(args.val, "val") if args.val else None
    files = TrainingFiles(args.conditions, args.latents, args.autoencoder, train, val, args.model)
    config = read_training(args.config).model_dump()
    kind_of(config["kind"]).train(config, files, args.out, args.state)


if __name__ == "__main__":
    run_program(main)
