"""Sample the control of a generator: one patient, whose tumour grows, and then moves along each axis.

The noise is the same in all volumes, so that only what is asked for differs. No volume is picked or refused. Writes what
was requested and measured, and the slices that are drawn, all modalities of them.
"""

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import write_tsv
from workflow_scripts.base.progress import track


def main(argv: list[str] | None = None) -> None:
    args = program_parser(
        __doc__, "model", "train", table="table of what was requested and measured", slices="the slices, .safetensors"
    ).parse_args(argv)

    import numpy as np
    import pandas as pd

    from workflow_scripts.base.seeds import torch_rng
    from workflow_scripts.cohort.planes import PLANES, extent_mm, largest_slices
    from workflow_scripts.cohort.subset import Subset
    from workflow_scripts.diffusion.kinds import load_generator
    from workflow_scripts.evaluation.control_draws import draw, row_of, sweep
    from workflow_scripts.evaluation.control_slices import SWEPT, write_slices
    from workflow_scripts.study.settings.evaluation import ControlSettings
    from workflow_scripts.training.devices import default_device, use_threads

    use_threads(args.threads)
    settings = ControlSettings.read(args.config, "evaluation.control")
    steps = settings.sweep_steps
    if steps < 2:
        raise UserError(f"evaluation.control.sweep_steps is {steps}: a sweep needs two volumes a row at least")
    train = Subset.open(args.train, "train")
    generator = load_generator(args.model, settings, default_device(), train)
    contract, conditions, grid = generator.contract, generator.conditions, generator.contract["grid"]
    rows, slices = [], {}
    with track(len(SWEPT) * steps, f"sweep of {contract['name']}", "draw") as bar:
        for feature, plane in SWEPT.items():
            for step, request in enumerate(sweep(conditions, feature, steps)):
                made = draw(generator, request, torch_rng(settings.seed, "control sweep"))
                place = largest_slices(made.levels)[plane]
                slices[f"{feature}/{step}/image"] = np.take(made.image, place, axis=PLANES[plane] + 1)
                slices[f"{feature}/{step}/levels"] = np.take(made.levels, place, axis=PLANES[plane])
                front = {"n_real": train.n_patients, "system": contract["name"], "swept": feature, "step": step}
                rows.append(front | row_of(conditions, request, made))
                bar.update(1)
    extents = {feature: extent_mm(plane, grid["size"], grid["spacing_mm"]) for feature, plane in SWEPT.items()}
    about = {key: contract[key] for key in ("modalities", "regions")} | {"extents_mm": extents}
    write_slices(args.slices, slices, about)
    write_tsv(args.table, pd.DataFrame(rows))
    log.info("%d volumes of one patient were sampled: %s", len(rows), args.table)


if __name__ == "__main__":
    run_program(main)
