"""Train the autoencoder of one train subset, and measure on the validation cases what it gives back.

Writes to --out: model.safetensors (averaged weights), model.json, loss.csv, reconstruction.tsv, and reconstruction.png
for a quick look. Only the train subset is read before the weights are final.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from workflow_scripts.base.cli import Folder, add_subsets, log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import atomic, sha256_json, write_tsv
from workflow_scripts.base.provenance import code_digest
from workflow_scripts.base.seeds import seed_of
from workflow_scripts.cohort.regions import REGIONS, check_regions
from workflow_scripts.cohort.subset import Subset, check_apart

# The code that makes the weights; how they are measured afterwards does not change them.
TRAINED_BY = ("workflow_scripts.training.autoencoder_task", "workflow_scripts.training.loop")
SPEC = ("kind", "channels", "strides", "latent_channels", "position", "embedding_dim")
OTHER = (
    *("name", "loss", "empty_slices_kept", "patch_size", "discriminator", "training", "seed", "modalities", "regions"),
)
SLICES_PER_BATCH = 32  # reconstructed at once on the validation cases


def main(argv: list[str] | None = None) -> None:
    """Run the program. Raises UserError for input that the user can mend."""
    parser = program_parser(__doc__)
    add_subsets(parser, "train", "val")
    parser.add_argument("--out", action=Folder, required=True, help="folder of the trained autoencoder")
    parser.add_argument("--state", type=Path, required=True, help="folder for what a stopped training resumes from")
    args = parser.parse_args(argv)

    import torch

    from workflow_scripts.models.build_autoencoder import build_autoencoder
    from workflow_scripts.models.patch_discriminator import PatchDiscriminator
    from workflow_scripts.models.slice_autoencoder import SliceAutoencoder
    from workflow_scripts.training.autoencoder_task import AutoencoderTask, check_adversarial
    from workflow_scripts.training.case_volumes import CaseVolumes, common_grid
    from workflow_scripts.training.devices import default_device, use_threads
    from workflow_scripts.training.loop import train
    from workflow_scripts.training.losses import ReconstructionLoss
    from workflow_scripts.training.model_files import load_weights, save_model
    from workflow_scripts.training.patch_data import PatchData
    from workflow_scripts.training.settings import TrainSettings
    from workflow_scripts.training.slice_data import SliceData
    from workflow_scripts.training.state import StateFolder, run_digest

    use_threads(args.threads)
    config = _checked(args.config)
    spec, seed, regions = {key: config[key] for key in SPEC if key in config}, config["seed"], config["regions"]
    settings = TrainSettings.from_config(config["training"], "autoencoder.training")
    subset, held_out = Subset.open(args.train, "train"), Subset.open(args.val, "val")
    check_apart(subset, held_out)
    case_ids = subset.case_ids
    shared = common_grid(subset.store, case_ids)
    modalities, grid = shared["modalities"], shared["grid"]
    if config.get("modalities", modalities) != modalities:
        raise UserError(f"the volumes hold {modalities}, not {config['modalities']}: run `snakemake -R preprocess`")
    held_out.check_files()

    adversarial = config.get("discriminator")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "autoencoder"))
        module, discriminator = build_autoencoder(spec, len(modalities), len(regions), grid), None
        if adversarial is not None:
            adversarial = check_adversarial(adversarial)
            discriminator = PatchDiscriminator(len(modalities) + len(regions), adversarial["channels"])
    title = f"autoencoder {config['name']}"
    volumes = CaseVolumes(subset.store, case_ids, regions, settings.devices)
    if isinstance(module, SliceAutoencoder):
        data = SliceData(volumes, module.positions(grid["size"][0]), seed, config.get("empty_slices_kept", 0.1))
    else:
        data = PatchData(volumes, config.get("patch_size"), grid["size"], seed)
        module.latent_shape(data.patch_size)  # now, with the sizes that fit, not in the first step
    log.info(
        "%s: %.2f M parameters, %d training cases, latents %s",
        *(title, sum(weight.numel() for weight in module.parameters()) / 1e6, len(case_ids)),
        "x".join(map(str, module.latent_shape(grid["size"]))),
    )
    loss = ReconstructionLoss(config["loss"], len(modalities))
    task = AutoencoderTask(module, data, loss, settings, seed, discriminator, adversarial)
    code = sha256_json([code_digest(module) for module in TRAINED_BY])
    digest = run_digest(config | {"code": code}, TRAINED_BY[0], subset.manifest)
    with StateFolder(args.state, f"autoencoder_{config['name']}", digest) as state:
        weights = train(task, settings, state, title)["autoencoder"]
        # the model too under the lock: a job that waits for it would write the same files at the same time
        args.out.mkdir(parents=True, exist_ok=True)
        with atomic(args.out / "loss.csv") as temporary:
            shutil.copyfile(state.folder / "loss.csv", temporary)
        module.to(default_device())
        load_weights(module, weights, args.state)
        _measure(module.eval(), held_out, modalities, regions, settings.precision, args.out)
        save_model(
            args.out,
            weights,
            {
                "kind": "autoencoder",
                "name": config["name"],
                "spec": spec,
                "modalities": modalities,
                "regions": list(regions),
                "grid": grid,
                "value_range": [-1, 1],
                "latent_shape": list(module.latent_shape(grid["size"])),
                "training_case_ids": case_ids,
                "loss": config["loss"],
                "discriminator": config.get("discriminator"),
                "training": config["training"],
                "seed": seed,
                "config_digest": sha256_json(config),
                "code_digest": code,
            },
        )
    log.info("the autoencoder is in %s", args.out)


def _measure(module, held_out, modalities, regions, precision, out: Path) -> None:
    """reconstruction.tsv of the validation cases, and a picture of the first of them."""
    import pandas as pd
    from matplotlib.image import imsave

    from workflow_scripts.evaluation.reconstruction import COLUMNS, mosaic, reconstruction_rows
    from workflow_scripts.training.autoencoder_task import reconstruct
    from workflow_scripts.training.case_volumes import stack_channels
    from workflow_scripts.training.devices import autocast, default_device

    rows, count, store, case_ids = [], len(modalities), held_out.store, held_out.case_ids
    for number, case_id in enumerate(case_ids):
        x = stack_channels(store.image(case_id), store.levels(case_id), regions)  # (M+R, D, H, W)
        with autocast(default_device(), precision):
            image, probabilities = (value[0] for value in reconstruct(module, x[None], SLICES_PER_BATCH))
        reference, masks = x[:count], (x[count:] + 1) / 2
        rows += reconstruction_rows(case_id, image, reference, probabilities, masks, modalities, regions)
        if number == 0:
            with atomic(out / "reconstruction.png") as temporary:
                imsave(temporary, mosaic(image, reference, probabilities, masks), metadata={"Software": None})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    write_tsv(out / "reconstruction.tsv", table)
    for (metric, channel), value in table.groupby(["metric", "channel"], sort=False)["value"].mean().items():
        log.info("reconstruction of %d validation cases: %s of %s %.3f", len(case_ids), metric, channel, value)


def _checked(config: dict) -> dict:
    """The config with its defaults filled in. Raises UserError that names a missing, unknown or wrong key."""
    from workflow_scripts.training.settings import check_keys

    check_keys(config, [*SPEC, *OTHER], "autoencoder")
    config = {"seed": 0, "regions": list(REGIONS)} | config
    kinds = {"name": str, "kind": str, "loss": dict, "training": dict, "seed": int}
    for key, kind in kinds.items():
        if not isinstance(config.get(key), kind):
            raise UserError(f"autoencoder: `{key}` is missing or is no {kind.__name__}")
    check_regions(config["regions"])
    return config


if __name__ == "__main__":
    run_program(main)
