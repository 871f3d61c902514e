"""Put a trained depth decoder into the folder of a generator, which then holds all that synthesis needs.

Refused where the two belong to different autoencoders. The generator itself is left as it is.
"""

import shutil

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.files import atomic


def main(argv: list[str] | None = None) -> None:
    args = program_parser(__doc__, "depth-decoder", "model").parse_args(argv)

    import torch

    from workflow_scripts.diffusion.kinds import load_generator
    from workflow_scripts.study.settings.synthesis import SynthesisSettings
    from workflow_scripts.training.depth_decoder_files import FOLDER, load_depth_decoder
    from workflow_scripts.training.model_files import CONTRACT, WEIGHTS

    without = SynthesisSettings(depth_decoder=False)
    autoencoder = load_generator(args.model, without, torch.device("cpu")).autoencoder
    load_depth_decoder(args.depth_decoder, autoencoder, autoencoder.state_dict())
    target = args.model / FOLDER
    (target / CONTRACT).unlink(missing_ok=True)
    for name in (WEIGHTS, CONTRACT):  # the contract last: where it is, the model is whole
        with atomic(target / name) as temporary:
            shutil.copyfile(args.depth_decoder / name, temporary)
    log.info("%s decodes along depth, with the decoder of %s", args.model, args.depth_decoder)


if __name__ == "__main__":
    run_program(main)
