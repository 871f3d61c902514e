"""Decode the same synthetic latents slice by slice and along depth, and compare how much neighbouring voxels differ.

Writes to --out a row a volume, decoder, modality and direction: the mean absolute difference between neighbours in the
brain, for --config `volumes` synthetic cases under either decoder, and for the real validation cases. Between axial
slices, streaks make it larger than in real volumes, and blur smaller.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from workflow_scripts.base.cli import add_cohort, log, program_parser, run_program
from workflow_scripts.base.files import write_tsv
from workflow_scripts.cohort.dataset import read_splits, val_ids
from workflow_scripts.cohort.volumes import VolumeStore


def main(argv: list[str] | None = None) -> None:
    """Run the program. Raises UserError for input that the user can mend."""
    parser = program_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of a trained generator with a depth decoder")
    add_cohort(parser, "splits", "volumes", "n-real")
    parser.add_argument("--out", type=Path, required=True, help="decoders.tsv")
    args = parser.parse_args(argv)

    import numpy as np
    import pandas as pd
    import torch

    from workflow_scripts.base.seeds import torch_generator
    from workflow_scripts.diffusion.gate import brain_mask
    from workflow_scripts.diffusion.settings import SynthesisSettings
    from workflow_scripts.diffusion.synthesis import decode, load_generator, sample_latents
    from workflow_scripts.evaluation.decoders import gradient_rows
    from workflow_scripts.training.devices import default_device, use_threads
    from workflow_scripts.training.settings import take_count

    use_threads(args.threads)
    volumes, config = take_count(args.config, "volumes", 3, "evaluation.cost")
    settings = SynthesisSettings.from_config(config)
    along_depth = load_generator(args.model, default_device(), depth_decoder=True)
    slicewise = dataclasses.replace(along_depth, decoder=along_depth.autoencoder)
    contract, store = along_depth.contract, VolumeStore(args.volumes)
    modalities, table = contract["modalities"], []
    for number in range(volumes):
        features = along_depth.features.rows[number % len(along_depth.features.rows)][None]
        sources = [torch_generator(settings.seed, "decoders", number)]
        latent = sample_latents(along_depth, features, sources, settings)[0]
        made = {
            name: decode(each, latent, settings)[0] for name, each in (("slice", slicewise), ("depth", along_depth))
        }
        brain = np.logical_and(*map(brain_mask, made.values()))  # the same voxels for both
        for name, image in made.items():
            rows = gradient_rows(torch.from_numpy(image), torch.from_numpy(brain), modalities)
            table += [{"case_id": f"synthetic {number}", "decoder": name} | row for row in rows]
    for case_id in val_ids(read_splits(args.splits)):
        image = torch.from_numpy(np.asarray(store.image(case_id), dtype=np.float32))
        table += [
            {"case_id": case_id, "decoder": "real"} | row
            for row in gradient_rows(image, (image > -1).any(dim=0), modalities)
        ]
    table = pd.DataFrame(table).assign(n_real=args.n_real, system=contract["name"])
    write_tsv(args.out, table)
    means = table[table.between == "axial slices"].groupby("decoder", sort=False)["value"].mean()
    log.info(
        "%s: mean difference between neighbouring axial slices %.4f decoded slice by slice, %.4f along depth; %.4f in real "
        "validation cases", *(contract["name"], means["slice"], means["depth"], means["real"]),
    )  # fmt: skip


if __name__ == "__main__":
    run_program(main)
