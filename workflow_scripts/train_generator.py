"""Train the generator of a system on the train subset, under the conditions of its tumours.

A denoiser over the latents of an autoencoder (--latents, --autoencoder), a denoiser over the volumes themselves, or a
GAN (both --train). Writes a self-contained model to --out: model.safetensors (averaged weights of the network, the
autoencoder, the table of training conditions), model.json, loss.csv.
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


def main(argv: list[str] | None = None) -> None:
    """Run the program. Raises UserError for input that the user can mend."""
    parser = program_parser(__doc__)
    parser.add_argument("--conditions", type=Path, required=True, help="conditions.tsv of measure_tumours")
    parser.add_argument("--latents", type=Path, help="folder of extract_latents")
    parser.add_argument("--autoencoder", type=Path, help="folder of train_autoencoder")
    parser.add_argument("--train", type=Path, help="manifest.json of the train subset, for a system in voxel space")
    parser.add_argument("--out", type=Path, required=True, help="folder of the trained generator")
    parser.add_argument("--state", type=Path, required=True, help="folder for what a stopped training resumes from")
    args = parser.parse_args(argv)
    if (args.train is None) == (args.latents is None) or (args.latents is None) != (args.autoencoder is None):
        raise UserError("give either --latents and --autoencoder, or --train")

    import torch

    from workflow_scripts.training.devices import use_threads
    from workflow_scripts.training.loop import train
    from workflow_scripts.training.model_files import save_model
    from workflow_scripts.training.settings import TrainSettings
    from workflow_scripts.training.state import StateFolder, run_digest

    use_threads(args.threads)
    config = _checked(args.config)
    name, seed = config["system"], config["seed"]
    family = "gan" if "gan" in config else "diffusion"
    settings = TrainSettings.from_config(config[family]["training"], f"{family}.training")
    data, autoencoder, weights, files = _training_set(args, config["regions"], family, settings.devices)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "denoiser"))
        task, player, spec = _task(config, data, settings)
    count = sum(parameter.numel() for parameter in task.players[player].module.parameters())
    log.info(
        "generator %s: %.1f M parameters, %d training cases, %s %s",
        *(name, count / 1e6, len(data.case_ids), "latents" if autoencoder else "volumes"),
        "x".join(map(str, data.scale["shape"])),
    )
    digest = run_digest(config, MODULE, args.conditions, *files)
    with StateFolder(args.state, f"generator_{name}", digest) as state:
        trained = train(task, settings, state, f"generator {name}")[player]
        # the model too under the lock: a job that waits for it would write the same files at the same time
        args.out.mkdir(parents=True, exist_ok=True)
        with atomic(args.out / "loss.csv") as temporary:
            shutil.copyfile(state.folder / "loss.csv", temporary)
        save_model(
            args.out,
            {f"autoencoder.{key}": value for key, value in weights.items()}
            | {f"network.{key}": value for key, value in trained.items()}
            | {"features.table": torch.from_numpy(data.conditions.rows).float()},
            data.contract
            | {
                "kind": "generator",
                "name": name,
                "spec": spec,
                "autoencoder": autoencoder,
                "latent": data.scale,
                "features": data.conditions.describe(),
                "foreground_volume_ml": data.foreground_volume_ml,
                "diffusion": config.get("diffusion"),
                "training": config[family]["training"],
                "seed": seed,
                "config_digest": sha256_json(config),
                "code_digest": code_digest(MODULE),
            },
        )
    log.info("the generator is in %s", args.out)


def _training_set(args, regions: list[str], family: str, copies: int):
    """The training set, the autoencoder's spec and weights (None and none in voxel space), and the files read."""
    from workflow_scripts.cohort.subset import Subset
    from workflow_scripts.diffusion.training_set import latent_training_set, voxel_training_set
    from workflow_scripts.training.model_files import load_model

    if args.train is not None:
        subset = Subset.open(args.train, "train")
        data = voxel_training_set(
            subset.store, subset.case_ids, regions, args.conditions, family == "diffusion", copies
        )
        return data, None, {}, [subset.manifest]
    weights, contract = load_model(args.autoencoder)
    if contract["kind"] != "autoencoder":
        raise UserError(f"{args.autoencoder} holds a {contract['kind']}, not an autoencoder")
    if contract["regions"] != list(regions):
        raise UserError(f"{args.autoencoder} was trained on the regions {contract['regions']}, not {list(regions)}")
    data = latent_training_set(args.latents, args.autoencoder, contract, args.conditions)
    files = [args.latents / "latents.safetensors", args.latents / "latents.json", args.autoencoder / "model.json"]
    return data, contract["spec"], weights, files


def _task(config: dict, data, settings):
    """The training task, the player whose weights are kept, and its spec for the contract."""
    import torch

    from workflow_scripts.diffusion.gan_task import GanTask, check_gan
    from workflow_scripts.diffusion.generator_task import GeneratorTask, check_diffusion
    from workflow_scripts.models.build_denoiser import build_denoiser
    from workflow_scripts.models.build_gan import build_gan_discriminator, build_gan_generator

    shape, count = data.scale["shape"], len(data.conditions.names)
    conditions = torch.from_numpy(data.conditions.normalise(data.conditions.rows)).float()
    if "gan" in config:
        gan = config["gan"]
        check_gan(gan)
        players = build_gan_generator(gan, shape, count), build_gan_discriminator(gan, shape, count)
        task = GanTask(*players, data.latents, conditions, gan, settings, config["seed"])
        return task, "generator", {key: value for key, value in gan.items() if key != "training"}
    check_diffusion(config["diffusion"])
    denoiser = build_denoiser(config["denoiser"], shape[0], count)
    task = GeneratorTask(denoiser, data.latents, conditions, config["diffusion"], settings, config["seed"])
    return task, "denoiser", config["denoiser"]


def _checked(config: dict) -> dict:
    """The config with its defaults filled in. Raises UserError that names a missing, unknown or wrong key."""
    from workflow_scripts.cohort.regions import REGIONS, check_regions
    from workflow_scripts.training.settings import check_keys

    known = {"system": str, "regions": list, "seed": int}
    known |= {"gan": dict} if "gan" in config else {"denoiser": dict, "diffusion": dict}
    check_keys(config, list(known), "--config")
    config = {"seed": 0, "regions": list(REGIONS)} | config
    for key, kind in known.items():
        if not isinstance(config.get(key), kind):
            raise UserError(f"--config: `{key}` is missing or is no {kind.__name__}")
    check_regions(config["regions"])
    family = "gan" if "gan" in config else "diffusion"
    if not isinstance(config[family].get("training"), dict):
        raise UserError(f"--config: {family}.training is missing: write at least its steps and batch_size")
    return config


if __name__ == "__main__":
    run_program(main)
