"""Test the control of a generator: ask for the tumours of held-out patients, draw one volume for each, measure it.

All conditions of a tumour are asked for at once. No draw is refused: a quality gate would leave out the failures. The
held-out tumours are only asked for; the generator has never learned from them. Writes a row a request, with what was
requested and measured, the conditions that lie outside of the training range, and what is wrong with the mask.
"""

from pathlib import Path

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.base.progress import track


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, "model", "train", held_out="held_out_tumours.tsv", out="control.tsv")
    args = parser.parse_args(argv)

    import pandas as pd

    from workflow_scripts.base.seeds import torch_rng
    from workflow_scripts.cohort.subset import Subset
    from workflow_scripts.diffusion.kinds import load_generator
    from workflow_scripts.evaluation.control_draws import draw, row_of
    from workflow_scripts.study.settings.evaluation import ControlSettings
    from workflow_scripts.training.devices import default_device, use_threads

    use_threads(args.threads)
    settings = ControlSettings.read(args.config, "evaluation.control")
    train = Subset.open(args.train, "train")
    generator = load_generator(args.model, settings, default_device(), train)
    contract, names = generator.contract, list(generator.conditions.names)
    requests = _requests(args.held_out, names, contract, settings.requests, settings.seed)
    rows = []
    with track(len(requests), f"control of {contract['name']}", "draw") as bar:
        for number, request in enumerate(requests.to_dict("records")):
            conditions = requests.loc[number, names].to_numpy(dtype=float)
            made = draw(generator, conditions, torch_rng(settings.seed, "control", number), number)
            front = {"n_real": train.n_patients, "system": contract["name"], "case_id": request["case_id"]}
            front |= {"split": request["split"], "number": number}
            rows.append(front | row_of(generator.conditions, conditions, made) | made.validity)
            bar.update(1)
    table = pd.DataFrame(rows)
    write_tsv(args.out, table)
    log.info(
        "%s: %d held-out tumours requested, %d came out empty; requested and measured: %s",
        *(contract["name"], len(table), int(table["empty"].sum()), args.out),
    )


def _requests(path: Path, names: list[str], contract: dict, count: int, seed: int):
    """A seeded choice of `count` held-out tumours, or all of them, numbered from 0. Raises UserError."""
    import numpy as np

    from workflow_scripts.base.seeds import numpy_rng

    table = read_tsv(path)
    if missing := [name for name in ("case_id", "split", *names) if name not in table.columns]:
        raise UserError(f"{path} lacks the columns {', '.join(missing)}: run `snakemake -R measure_held_out`")
    if table.empty:
        raise UserError(f"{path} holds no tumour to ask for: run `snakemake -R measure_held_out`")
    if trained := sorted(set(table.case_id) & set(contract["training_case_ids"])):
        raise UserError(f"{path}: the generator was trained on case {trained[0]}, which must not test it")
    chosen = np.sort(numpy_rng(seed, "held-out tumours requested").permutation(len(table))[:count])
    return table.iloc[chosen].reset_index(drop=True)


if __name__ == "__main__":
    run_program(main)
