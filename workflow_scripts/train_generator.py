"""Train the generator: a denoiser that diffuses the latents of the train subset under their tumour features.

Reads the folders of extract_latents and train_autoencoder. Writes a self-contained model to --out: model.safetensors
(averaged weights of the denoiser, the autoencoder, the table of training features), model.json, loss.csv.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import atomic, sha256_json
from workflow_scripts.base.provenance import code_digest
from workflow_scripts.base.seeds import seed_of

MODULE = "workflow_scripts.train_generator"
BOUND_MARGIN = 0.1  # of the training latents' range, at either end


def main(argv: list[str] | None = None) -> None:
    """Run the program. Raises UserError for input that the user can mend."""
    parser = program_parser(__doc__)
    parser.add_argument("--latents", type=Path, required=True, help="folder of extract_latents")
    parser.add_argument("--autoencoder", type=Path, required=True, help="folder of train_autoencoder")
    parser.add_argument("--out", type=Path, required=True, help="folder of the trained generator")
    parser.add_argument("--state", type=Path, required=True, help="folder for what a stopped training resumes from")
    args = parser.parse_args(argv)

    import torch

    from workflow_scripts.diffusion.generator_task import GeneratorTask, check_diffusion
    from workflow_scripts.diffusion.training_set import read_training_set
    from workflow_scripts.models.build_denoiser import build_denoiser
    from workflow_scripts.training.devices import use_threads
    from workflow_scripts.training.loop import train
    from workflow_scripts.training.model_files import load_model, save_model
    from workflow_scripts.training.settings import TrainSettings
    from workflow_scripts.training.state import StateFolder, run_digest

    use_threads(args.threads)
    config = _checked(args.config)
    name, seed, diffusion = config["system"], config["seed"], config["diffusion"]
    check_diffusion(diffusion)
    settings = TrainSettings.from_config(diffusion["training"], "diffusion.training")
    weights, contract = load_model(args.autoencoder)
    if contract["kind"] != "autoencoder":
        raise UserError(f"{args.autoencoder} holds a {contract['kind']}, not an autoencoder")
    data = read_training_set(args.latents, args.autoencoder, contract)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "denoiser"))
        denoiser = build_denoiser(config["denoiser"], data.latents.shape[1], len(data.features.names))
    count = sum(parameter.numel() for parameter in denoiser.parameters())
    log.info(
        "generator %s: %.1f M parameters, %d training cases, latents %s",
        *(name, count / 1e6, len(data.case_ids), "x".join(map(str, data.latents.shape[1:]))),
    )
    features = torch.from_numpy(data.features.normalise(data.features.rows)).float()
    task = GeneratorTask(denoiser, data.latents, features, diffusion, settings, seed)
    files = (args.latents / "latents.safetensors", args.latents / "latents.json", args.latents / "features.tsv")
    digest = run_digest(config, MODULE, *files, args.autoencoder / "model.json")
    with StateFolder(args.state, f"generator_{name}", digest) as state:
        trained = train(task, settings, state, f"generator {name}")["denoiser"]
        args.out.mkdir(parents=True, exist_ok=True)
        with atomic(args.out / "loss.csv") as temporary:
            shutil.copyfile(state.folder / "loss.csv", temporary)

    # Of each channel, over the training cases and all places: what an estimate of a clean latent may be.
    low, high = data.latents.amin(dim=(0, 2, 3, 4)), data.latents.amax(dim=(0, 2, 3, 4))
    margin = BOUND_MARGIN * (high - low)
    shared = ("modalities", "regions", "grid", "value_range", "training_case_ids")
    save_model(
        args.out,
        {f"autoencoder.{key}": value for key, value in weights.items()}
        | {f"denoiser.{key}": value for key, value in trained.items()}
        | {"features.table": torch.from_numpy(data.features.rows).float()},
        {key: contract[key] for key in shared}
        | {
            "kind": "generator",
            "name": name,
            "spec": config["denoiser"],
            "autoencoder": contract["spec"],
            "latent": {
                "shape": contract["latent_shape"],
                "mean": data.mean.tolist(),
                "std": data.std.tolist(),
                "low": (low - margin).tolist(),
                "high": (high + margin).tolist(),
            },
            "features": data.features.describe(),
            "brain_volume_ml": data.brain_volume_ml,
            "diffusion": diffusion,
            "seed": seed,
            "config_digest": sha256_json(config),
            "code_digest": code_digest(MODULE),
        },
    )
    log.info("the generator is in %s", args.out)


def _checked(config: dict) -> dict:
    """The config with its seed filled in. Raises UserError that names a missing, unknown or wrong key."""
    known = {"system": str, "denoiser": dict, "diffusion": dict, "seed": int}
    for key in config:
        if key not in known:
            raise UserError(f"--config: unknown key `{key}`; known keys: {', '.join(known)}")
    config = {"seed": 0} | config
    for key, kind in known.items():
        if not isinstance(config.get(key), kind):
            raise UserError(f"--config: `{key}` is missing or is no {kind.__name__}")
    if not isinstance(config["diffusion"].get("training"), dict):
        raise UserError("--config: diffusion.training is missing: write at least its steps and batch_size")
    return config


if __name__ == "__main__":
    run_program(main)
