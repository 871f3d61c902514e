"""Draw one figure of the study.

Config (--config): the settings that `reporting.registry` lists for the figure.
"""

from importlib import import_module

from workflow_scripts.base.cli import program_parser, run_program
from workflow_scripts.reporting.figures.style import About, save_figure
from workflow_scripts.reporting.looks import use_looks
from workflow_scripts.reporting.registry import FIGURE_INPUTS, FIGURES, add_inputs, read_inputs


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, out="figure, .png or .svg")
    parser.add_argument("--figure", choices=FIGURES, required=True, help="name of the figure")
    add_inputs(parser, FIGURE_INPUTS)
    parser.add_argument("--system", default="", help="name of the generative system, for a figure of one")
    parser.add_argument("--n-real", default="", help="real training patients, likewise")
    parser.add_argument("--simulated", action="store_true", help="the cohort is the embedded simulation: say so")
    args = parser.parse_args(argv)
    use_looks(args.config.pop("looks", None))
    files = read_inputs(args, FIGURES[args.figure], FIGURE_INPUTS)
    # by name: the digest of this program's code holds no figure, and the rule adds that of its own
    module = import_module(f"workflow_scripts.reporting.figures.{args.figure}")
    about = About(args.system, args.n_real, args.simulated)
    save_figure(module.draw(files, args.config, about), args.out)


if __name__ == "__main__":
    run_program(main)
