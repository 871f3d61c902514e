"""Train the autoencoder of one train subset, and leave model.safetensors (averaged weights), model.json and loss.csv."""

from workflow_scripts.base.cli import Folder, log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import sha256_json
from workflow_scripts.base.provenance import code_digest
from workflow_scripts.base.seeds import seed_of
from workflow_scripts.cohort.subset import Subset
from workflow_scripts.study.voxels import FOREGROUND

MODULE = "workflow_scripts.programs.autoencoder.train_autoencoder"
SPEC = ("kind", "channels", "strides", "latent_channels", "position", "embedding_dim")


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, "train", "state")
    parser.add_argument("--out", action=Folder, required=True, help="folder of the trained autoencoder")
    args = parser.parse_args(argv)

    import torch

    from workflow_scripts.models.build_autoencoder import build_autoencoder
    from workflow_scripts.models.patch_discriminator import PatchDiscriminator
    from workflow_scripts.study.settings.autoencoder import SliceVae, Vae3d, autoencoder_stage
    from workflow_scripts.training.autoencoder_task import AutoencoderTask
    from workflow_scripts.training.case_volumes import CaseVolumes, common_grid, mask_names
    from workflow_scripts.training.devices import use_threads
    from workflow_scripts.training.losses import ReconstructionLoss
    from workflow_scripts.training.patch_data import PatchData
    from workflow_scripts.training.slice_data import SliceData
    from workflow_scripts.training.state import growth_digest, run_digest
    from workflow_scripts.training.train_model import train_model

    use_threads(args.threads)
    stage = autoencoder_stage(args.config)
    settings, seed, regions, config = stage.training, stage.seed, stage.regions, stage.model_dump()
    spec = {key: config[key] for key in SPEC if key in config}
    subset = Subset.open(args.train, "train")
    case_ids = subset.case_ids
    shared = common_grid(subset.store, case_ids)
    modalities, grid, background = shared["modalities"], shared["grid"], shared["written"]["background"]
    masks = mask_names(regions, background, stage.foreground_channel)
    if stage.modalities not in (None, modalities):
        raise UserError(f"the volumes hold {modalities}, not {stage.modalities}: run `snakemake -R preprocess`")

    adversarial = stage.discriminator if isinstance(stage, Vae3d) else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "autoencoder"))
        module, discriminator = build_autoencoder(spec, len(modalities), len(masks), grid), None
        if adversarial is not None:
            discriminator = PatchDiscriminator(len(modalities) + len(masks), adversarial.channels)
    volumes = CaseVolumes(subset.store, case_ids, masks, settings.devices)
    if isinstance(stage, SliceVae):
        data = SliceData(
            *(volumes, module.positions(grid["size"][0]), seed, stage.empty_slices_kept),
            *(stage.augmentation, stage.tumour_slices, stage.dropped_regions),
        )
    else:
        data = PatchData(volumes, stage.patch_size, grid["size"], seed)
        module.latent_shape(data.patch_size)  # now, with the sizes that fit, not in the first step
    log.info(
        "autoencoder %s: %.2f M parameters, %d training cases, latents %s",
        *(config["name"], sum(weight.numel() for weight in module.parameters()) / 1e6, len(case_ids)),
        "x".join(map(str, module.latent_shape(grid["size"]))),
    )
    loss = ReconstructionLoss(stage.loss, len(modalities), masks[0] == FOREGROUND)
    task = AutoencoderTask(module, data, loss, settings, seed, discriminator, adversarial)
    contract = {
        "kind": "autoencoder",
        "name": config["name"],
        "spec": spec,
        "modalities": modalities,
        "regions": list(regions),
        "masks": masks,
        "written": shared["written"],
        "grid": grid,
        "value_range": [-1, 1],
        "latent_shape": list(module.latent_shape(grid["size"])),
        **subset.trained_on(),
        "loss": config["loss"],
        "discriminator": config.get("discriminator"),
        "training": config["training"],
        "seed": seed,
        "config_digest": sha256_json(config),
        "code_digest": code_digest(MODULE),
    }
    train_model(
        task,
        settings,
        "autoencoder",
        contract,
        out=args.out,
        state=args.state,
        digest=run_digest(config, MODULE, subset.manifest),
        grows=growth_digest(config, MODULE, subset.manifest),
    )


if __name__ == "__main__":
    run_program(main)
