"""Draw the control of a generator: one patient, whose tumour grows, and then moves along each axis.

The noise is the same in all volumes, so that only what is asked for differs. No volume is picked or refused. What is
printed on the figure is written to --table too.
"""

from __future__ import annotations

from pathlib import Path

from workflow_scripts.base.cli import Folder, add_subsets, log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import write_tsv
from workflow_scripts.base.progress import track


def main(argv: list[str] | None = None) -> None:
    """Run the program. Raises UserError for input that the user can mend."""
    parser = program_parser(__doc__)
    parser.add_argument("--model", action=Folder, required=True, help="folder of a trained generator")
    add_subsets(parser, "train")
    parser.add_argument("--simulated", action="store_true", help="the cohort is the embedded simulation: say so")
    parser.add_argument("--out", type=Path, required=True, help="figure, .png or .svg")
    parser.add_argument("--table", type=Path, required=True, help="table of what was requested and measured")
    args = parser.parse_args(argv)

    import pandas as pd

    from workflow_scripts.base.seeds import torch_rng
    from workflow_scripts.cohort.subset import Subset
    from workflow_scripts.diffusion.kinds import load_generator
    from workflow_scripts.evaluation.agreement import EMPTY_MEASURES
    from workflow_scripts.evaluation.control_draws import SWEPT, draw, sweep
    from workflow_scripts.reporting.figures.cases import PicturedCase
    from workflow_scripts.reporting.figures.style import save_figure
    from workflow_scripts.reporting.figures.sweep import SweepCell, control_sweep
    from workflow_scripts.study.settings.evaluation import ControlSettings
    from workflow_scripts.training.devices import default_device, use_threads

    use_threads(args.threads)
    settings = ControlSettings.read(args.config, "evaluation.control")
    steps, modality = settings.sweep_steps, settings.modality
    if steps < 2:
        raise UserError(f"evaluation.control.sweep_steps is {steps}: a sweep needs two volumes a row at least")
    train = Subset.open(args.train, "train")
    generator = load_generator(args.model, settings, default_device())
    contract, conditions = generator.contract, generator.conditions
    if modality not in contract["modalities"]:
        known = ", ".join(contract["modalities"])
        raise UserError(f"evaluation: figures: modality {modality!r} is not made by this generator: {known}")
    channel, spacing_mm = contract["modalities"].index(modality), contract["grid"]["spacing_mm"]
    cells: dict[str, list[SweepCell]] = {feature: [] for feature in SWEPT}
    rows = []
    with track(len(SWEPT) * steps, f"sweep of {contract['name']}", "draw") as bar:
        for feature in SWEPT:
            for step, request in enumerate(sweep(conditions, feature, steps)):
                made = draw(generator, request, torch_rng(settings.seed, "control sweep"))
                requested = dict(zip(conditions.names, request.tolist(), strict=True))
                measured = EMPTY_MEASURES if made.measured is None else made.measured
                outside = conditions.outside(request)
                case = PicturedCase(f"{feature} {step}", made.image[channel], made.levels, spacing_mm)
                cells[feature].append(SweepCell(case, requested, measured, bool(outside)))
                rows.append(
                    {"n_real": train.n_patients, "system": contract["name"], "swept": feature, "step": step}
                    | {f"requested_{name}": requested[name] for name in conditions.names}
                    | {f"measured_{name}": measured.get(name) for name in conditions.names}
                    | {"out_of_range_note": ", ".join(outside)}
                )
                bar.update(1)
    title = (
        f"{modality}; system {contract['name']}, n_real = {train.n_patients}. The same noise in every picture; requested is the "
        "training tumour nearest the mean, of which a row takes one feature through its training range.\nThe volume "
        "grows at fixed sphericity: surface by its power 2/3, box by 1/3. No draw was refused or picked. *: a requested "
        "feature lies outside of the training range."
    )
    if args.simulated:
        title = f"SIMULATED COHORT: no patient is real.\n{title}"
    save_figure(control_sweep(cells, contract["regions"], title), args.out)
    write_tsv(args.table, pd.DataFrame(rows))
    log.info("%d volumes of one patient are drawn in %s", len(rows), args.out)


if __name__ == "__main__":
    run_program(main)
