"""Fine-tune the decoder of a slice autoencoder along depth, with the encoder and its latents as they are.

Writes to --out: model.safetensors (averaged weights of the decoder), model.json, loss.csv.
"""

from workflow_scripts.base.cli import Folder, log, program_parser, run_program
from workflow_scripts.base.files import sha256_json
from workflow_scripts.base.provenance import code_digest
from workflow_scripts.base.seeds import seed_of
from workflow_scripts.cohort.subset import Subset
from workflow_scripts.study.dataset import FOREGROUND

MODULE = "workflow_scripts.programs.autoencoder.train_depth_decoder"
SPEC = ("levels", "kernel_size")


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, "autoencoder", "latents", "train", "state")
    parser.add_argument("--out", action=Folder, required=True, help="folder of the trained decoder")
    args = parser.parse_args(argv)

    import torch

    from workflow_scripts.models.depth_decoder import build_depth_decoder
    from workflow_scripts.study.settings.autoencoder import DepthDecoderStage, Loss
    from workflow_scripts.training.case_volumes import CaseVolumes
    from workflow_scripts.training.depth_decoder_task import DepthDecoderTask
    from workflow_scripts.training.devices import use_threads
    from workflow_scripts.training.latents import read_latents
    from workflow_scripts.training.losses import ReconstructionLoss
    from workflow_scripts.training.model_files import weights_digest
    from workflow_scripts.training.slab_data import SlabData
    from workflow_scripts.training.state import run_digest
    from workflow_scripts.training.train_model import train_model
    from workflow_scripts.training.trained_autoencoder import load_autoencoder

    use_threads(args.threads)
    stage = DepthDecoderStage.read(args.config, "depth_decoder")
    seed, settings, config = stage.seed, stage.training, stage.model_dump(exclude={"seed"})
    subset = Subset.open(args.train, "train")
    case_ids = subset.case_ids
    autoencoder, weights, contract = load_autoencoder(args.autoencoder, subset)
    encoded = read_latents(args.latents, args.autoencoder, contract)
    latents, std = encoded.by_case, encoded.std

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "depth decoder"))
        module = build_depth_decoder({key: config[key] for key in SPEC}, autoencoder)
    if stage.slice_layers == "fixed":
        module.fix_slice_layers()
    volumes = CaseVolumes(subset.store, case_ids, contract["masks"], settings.devices)
    positions = module.positions(contract["grid"]["size"][0])
    data = SlabData(volumes, latents, positions, stage.slab_slices, module.halo, seed)
    terms = Loss.read(contract["loss"] | {"kl": 0.0}, "autoencoder.loss")
    loss = ReconstructionLoss(terms, len(contract["modalities"]), contract["masks"][0] == FOREGROUND)
    task = DepthDecoderTask(module, data, loss, stage.through_plane, std, stage.latent_noise, settings, seed)
    log.info(
        "depth decoder of %s: %.2f M parameters, %.2f M of them along depth, %d training cases",
        *(contract["name"], _millions(module), _millions(module.mixers), len(case_ids)),
    )
    files = [args.latents / "latents.safetensors", args.latents / "latents.json", args.autoencoder / "model.json"]
    same = (
        "name",
        "modalities",
        "regions",
        "masks",
        "written",
        "grid",
        "value_range",
        "latent_shape",
        "training_case_ids",
        "loss",
    )
    own = {key: contract[key] for key in same} | {
        "kind": "depth_decoder",
        "spec": {key: config[key] for key in SPEC},
        "autoencoder": contract["spec"],
        "autoencoder_weights_digest": weights_digest(weights),
        **{key: value for key, value in config.items() if key not in SPEC},
        "seed": seed,
        "config_digest": sha256_json(config | {"seed": seed}),
        "code_digest": code_digest(MODULE),
    }
    digest = run_digest(config | {"seed": seed}, MODULE, subset.manifest, *files)
    train_model(task, settings, "depth_decoder", own, out=args.out, state=args.state, digest=digest)


def _millions(module) -> float:
    return sum(weight.numel() for weight in module.parameters()) / 1e6


if __name__ == "__main__":
    run_program(main)
