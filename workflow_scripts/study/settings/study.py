"""The whole configuration of a study, and what can be said of it without looking at the data."""

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ...base.errors import UserError
from ...base.given_tables import is_table
from ..arms import ladder_ratio, synthetic_count, train_sizes
from ..dataset import Dataset, file_of, read_dataset
from ..files import MODEL
from ..generators import starts
from ..given_splits import read_splits, sizes_of
from .base import Block, Fault, Folder, Name, Seed, Unique, Words, key
from .cohort import NONE, DemoCohort, Preprocessing, Splits
from .evaluation import Evaluation, Images
from .files import merge
from .memorisation import Memorisation
from .messages import fail, shown
from .segmentation import Segmentation
from .synthesis import Synthesis
from .systems import System, check_weights, load_systems

SIMULATED = "demo"  # the data_root that stands for the simulated cohort
MOST_BLOCKS = 100_000  # of synthetic cases, for one system and n_real: more are no plan that Snakemake could hold
DATASET = "brats"  # config/datasets/brats.yaml, the form of the simulated cohort


class Study(Block):
    """config/config.yaml and everything that overrides it."""

    run: Name = key("full", "", "the run's folder under `results`")
    results: Folder = key("results", "path", "folder of all runs; on a cluster, one that all nodes share")
    container: Annotated[str, Field(pattern=r"^\S+$"), Words("none, a path or an address, without spaces")] = key(
        NONE,
        "`none`, path or address",
        "image in which `--sdm apptainer` runs the jobs, a `.sif` file or what Apptainer can pull; see "
        "[envs/README.md](../envs/README.md)",
        examples=[NONE, "/images/sliceaug.sif"],
    )
    data_root: Folder = key(
        unit="`demo` or path",
        meaning="folder with the cases, or a table (`.csv`, `.tsv`) that names their files: case_id, patient_id, a column for "
        "each channel, mask; `demo` simulates a cohort",
        examples=["/data/cohort", "/data/cases.tsv", SIMULATED],
    )
    dataset: Annotated[
        str, Field(pattern=r"^\S(.*\S)?$"), Words("a name of config/datasets/, or the path of a YAML file")
    ] = key(
        DATASET,
        "name or path",
        "what the cases are: channels, nested regions, file names and labels by layout, patients, foreground, "
        "intensities, lesions",
        examples=[DATASET, "/data/my_cohort.yaml"],
    )
    layout: str = key("auto", "", "the one layout of the data set that is read; `auto` looks")
    patients: Annotated[str, Field(pattern=r"^[^{}\n]*[^{}\s][^{}\n]*$"), Words("none, or a path, without { and }")] = (
        key(
            NONE,
            "`none` or path",
            "CSV or TSV with the columns case_id and patient_id, which decides who is who; none: the data set's patterns of ids, "
            "and equal masks",
            examples=[NONE, "/data/patients.csv"],
        )
    )
    on_bad_case: Literal["reject", "fail"] = key(
        "reject", "", "a case that fails a check is listed in `cohort/rejected.tsv`, or stops the run"
    )
    modalities: Annotated[list[str], Field(min_length=1), Unique] | None = key(
        None, "", "image channels of the data set, in this order; null: all of them"
    )
    regions: Annotated[list[str], Field(min_length=1), Unique] | None = key(
        None,
        "",
        "mask channels: the first one or more of the data set's nested regions; null: all of them. Of a data set that a file "
        "beside the cases describes: labels of that file, from the outside in, whose names hold those behind them",
    )
    foreground_channel: bool = key(
        True,
        "",
        "networks see and give back the foreground as a mask channel of its own, by which what they make is cut, and "
        "image losses count inside it alone; false: images are cut where they are dark. Data sets whose foreground has "
        "the rule `none` have no such channel",
    )
    tracking: Literal["none", "mlflow", "wandb"] = key(
        "none",
        "",
        "copies curves and scores of all trainings into `results/<run>/tracking/` at the end of a study, offline: MLflow's store of "
        "files, or offline runs of Weights & Biases. The package of that name is to be installed beside the others; TensorBoard "
        "reads `.state` while a training goes on, whatever is written here",
    )
    demo_cohort: DemoCohort = key(DemoCohort(), "", "the simulated cohort")
    preprocessing: Preprocessing = key(Preprocessing(), "", "the common grid")
    splits: Splits = key(Splits(), "", "real patients")
    systems: Annotated[list[Name], Field(min_length=1), Unique] = key(
        ["slice_ldm"],
        "names",
        "generative systems to run: files of `config/systems/`, or folders of somebody else's cases by a name of your own; "
        "or a mapping of each to its settings, {theirs: {cases: /data/their_cases}}, as under `system_settings`",
    )
    system_settings: dict[str, dict[str, Any] | None] = key(
        {}, "mapping", "overrides of those files, by system, e.g. {slice_ldm: {sampler: {steps: 50}}}"
    )
    training_seed: Seed = key(0, "", "of autoencoder and generator trainings")
    synthesis: Synthesis = key(Synthesis(), "", "the synthetic cases")
    memorisation: Memorisation = key(Memorisation(), "", "copies of training cases")
    segmentation: Segmentation = key(Segmentation(), "", "the arms")
    evaluation: Evaluation = key(Evaluation(), "", "what is measured")

    @property
    def simulated(self) -> bool:
        """Whether the cohort is the simulated one."""
        return self.data_root == SIMULATED

    @cached_property
    def data_set(self) -> Dataset:
        """What the cases are."""
        return read_dataset(self.dataset, self.data_root, self.regions)

    @cached_property
    def system(self) -> dict[str, System]:
        """The generative systems, by name."""
        return load_systems(self.systems, self.system_settings, self.preprocessing.size)

    def asked(self) -> dict[str, Any]:
        """As mappings and lists that `read_study` takes for the same study; where they held null for names of the data
        set, the names."""
        own, modalities, asked = self.data_set, _modalities(self), self.model_dump()
        asked |= {"modalities": modalities, "regions": self.regions or list(own.regions)}
        if self.evaluation.figures.modality is None:
            shown = own.figure_modality if own.figure_modality in modalities else modalities[0]
            asked["evaluation"]["figures"]["modality"] = shown
        return asked

    def plain(self) -> dict[str, Any]:
        """What the rules read: what was asked, with each system under ``system`` and the data set under ``data_set``,
        null where there is no container or reference, and the sizes of the user's own splits."""
        plain = self.asked() | {"system": {name: system.plain() for name, system in self.system.items()}}
        plain["data_set"] = self.data_set.model_dump(mode="json")
        if self.splits.file != NONE:
            counts = sizes_of(read_splits(self.splits.file)[1])
            plain["splits"] |= {name: counts[name] for name in ("val", "test")}
        elif self.splits.folds and self.simulated:
            plain["splits"]["test"] = math.ceil(self.demo_cohort.cases / self.splits.folds)
        for block, name in (
            (plain, "container"),
            (plain, "patients"),
            (plain["splits"], "file"),
            (plain["evaluation"]["masks"], "reference_root"),
        ):
            block[name] = None if block[name] == NONE else block[name]
        return plain

    @model_validator(mode="before")
    @classmethod
    def _systems_with_settings(cls, data: Any) -> Any:
        """Systems given with their settings, as names and settings."""
        if not isinstance(data, Mapping) or not isinstance(systems := data.get("systems"), Mapping):
            return data
        if not isinstance(settings := data.get("system_settings") or {}, Mapping):
            return data
        given = {name: own for name, own in systems.items() if own is not None}
        return {**data, "systems": list(systems), "system_settings": merge(dict(settings), given)}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_paths(self)
        _check_arms(self)
        _check_data_set(self)
        _check_cohort(self)
        _check_images(self.evaluation.images)
        return self


def read_study(config: Mapping) -> Study:
    """The checked configuration, the systems' files with it. Raises UserError that names the key and the lines to write."""
    try:
        study = Study.read(config)
        for name, system in study.system.items():  # read and checked here
            for block, folder in starts(system.plain()).items():
                _check_start(study, ["system_settings", name, block, "training", "start_from"], folder)
            if system.cases is not None and Path(study.data_root).is_dir() and not study.simulated:
                _check_apart(name, Path(system.cases), Path(study.data_root))
    except OSError as error:  # of a path that no system call takes, such as one of 5,000 characters
        raise UserError(f"config: {shown(error.filename)} is no path that can be read ({error.strerror})") from None
    return study


def _check_apart(name: str, cases: Path, data_root: Path) -> None:
    """Raise UserError where the cases of an external system are in the cohort's folder, or the cohort in theirs."""
    one, other = cases.resolve(), data_root.resolve()
    if one == other or one in other.parents or other in one.parents:
        what = f"system_settings.{name}.cases {str(cases)!r} and data_root {str(data_root)!r} lie in each other: real cases"
        fail(
            ["system_settings", name, "cases"],
            "/data/their_cases",
            f"{what} would count as synthetic ones, or the other way",
        )


def _check_start(study: Study, path: list[str], folder: str) -> None:
    """Raise UserError where the training of a system cannot start from the model in `folder`. path: of the key"""
    if study.simulated:
        what = "is set, but this study's own patients are simulated: the patients that it starts from may be among them"
        fail(path, None, f"{'.'.join(path)} {what}")
    if missing := [name for name in MODEL if not Path(folder, name).is_file()]:
        what = f"{'.'.join(path)} {folder!r} holds no trained model: {missing[0]} is missing"
        fail(path, "results/pretraining/n_real~200/autoencoder/slice_vae", what)


def _check_paths(study: Study) -> None:
    root = Path(study.data_root)
    if not study.simulated and not root.is_dir() and not (is_table(root) and root.is_file()):
        raise Fault(["data_root"], "/data/cohort", f"{study.data_root!r} is no folder, nor a table, that can be read")
    if study.patients != NONE and not Path(study.patients).is_file():
        raise Fault(["patients"], "/data/patients.csv", f"{study.patients!r} is no file that can be read")
    if study.splits.file != NONE and not Path(study.splits.file).is_file():
        raise Fault(["splits", "file"], "/data/splits.csv", f"{study.splits.file!r} is no file that can be read")
    reference = study.evaluation.masks.reference_root
    if reference != NONE and not Path(reference).is_dir():
        what = f"{reference!r} is no folder that can be read"
        raise Fault(["evaluation", "masks", "reference_root"], "/data/masks", what)


def _check_arms(study: Study) -> None:
    settings, n_real = study.segmentation, study.splits.n_real
    ratios = settings.ratios
    path = ["segmentation", "ratios"]
    if 0 not in ratios:
        raise Fault(path, sorted({0, *ratios}), "must hold 0, the real-only arm that all others are compared with")
    if study.evaluation.comparison_ratio not in (None, *ratios):
        what = "is not among segmentation.ratios: there is no such arm to compare"
        raise Fault(["evaluation", "comparison_ratio"], None, what)
    ladder = ladder_ratio({"ladder": settings.ladder and settings.ladder.model_dump(), "ratios": ratios})
    if ladder is not None and max(ratios) > 0 and ladder not in ratios:
        what = f"is {ladder:g}, but ratios hold no such mix to be compared with ceiling and reconstructions"
        raise Fault(["segmentation", "ladder", "ratio"], None, what)
    mixes = [ratio for ratio in [*ratios, *settings.synthetic_only_ratios, 1] if ratio > 0]
    if synthetic_count(n_real[0], min(mixes)) == 0:
        fitting = sorted(ratio for ratio in ratios if ratio == 0 or ratio * n_real[0] >= 1)
        raise Fault(path, fitting, f"hold {min(mixes):g}, which is not one synthetic case for {n_real[0]} real ones")
    cases = synthetic_count(n_real[-1], max(mixes))
    if cases > MOST_BLOCKS * study.synthesis.block_size:
        what = f"is {study.synthesis.block_size}, so that {cases} synthetic cases were more than {MOST_BLOCKS} jobs"
        raise Fault(["synthesis", "block_size"], math.ceil(cases / MOST_BLOCKS), what)


def _modalities(study: Study) -> list[str]:
    return study.modalities or list(study.data_set.modalities)


def _check_data_set(study: Study) -> None:
    file_of(study.dataset)
    if study.simulated and study.dataset != DATASET:
        what = f"is {SIMULATED!r}, which simulates the data set {DATASET}, not {study.dataset}: name a folder"
        raise Fault(["data_root"], "/data/cohort", what)
    own = study.data_set
    if unknown := [name for name in _modalities(study) if name not in own.modalities]:
        known = ", ".join(own.modalities)
        raise Fault(
            ["modalities"], own.modalities, f"holds {unknown[0]!r}, which data set {study.dataset} lacks: {known}"
        )
    regions = study.regions or own.regions
    if regions != own.regions[: len(regions)]:
        what = f"is {regions}, but must be the first one or more of {', '.join(own.regions)}"
        raise Fault(["regions"], own.regions, what)
    if study.layout not in ("auto", *own.layouts):
        what = f"is {study.layout!r}, but must be auto, or one of data set {study.dataset}: {', '.join(own.layouts)}"
        raise Fault(["layout"], "auto", what)


def _check_cohort(study: Study) -> None:
    curve = {"learning_curve": study.segmentation.learning_curve}
    largest = train_sizes(curve, study.splits.n_real)[-1]
    needed = study.splits.val + study.splits.test + largest
    if folds := study.splits.folds:  # each tests a share of the patients, and n - ceil(n / folds) are left
        needed = math.ceil((study.splits.val + largest) * folds / (folds - 1))
    if study.splits.file != NONE:
        room = sizes_of(read_splits(study.splits.file)[1])["train"]
        if largest > room:
            what = f"asks for {largest} training patients with learning_curve, but {study.splits.file} has {room}"
            raise Fault(["splits", "n_real"], [room], what)
        needed = 0
    if study.simulated and needed > study.demo_cohort.cases:
        what = f"is {study.demo_cohort.cases}, but splits ask for {needed} patients"
        raise Fault(["demo_cohort", "cases"], needed, what)
    if study.evaluation.figures.modality not in (None, *_modalities(study)):
        what = f"{study.evaluation.figures.modality!r} is not among modalities"
        raise Fault(["evaluation", "figures", "modality"], _modalities(study)[0], what)
    if study.evaluation.control.sweep_steps == 1:
        raise Fault(
            ["evaluation", "control", "sweep_steps"], 5, "is 1: a sweep needs two volumes a row, and 0 makes none"
        )


def _check_images(images: Images) -> None:
    path = ["evaluation", "images"]
    if images.network != "efficientnet_lite0" and images.weights == "package":
        what = f"is package, but {images.network} is not packaged: it must name its file"
        raise Fault([*path, "weights"], f"/weights/{images.network}.pth", what)
    check_weights(path, "weights", images.weights, "sha256", images.sha256)


def check_image(image: str) -> None:
    """Raise UserError unless `image`, a local file or an address with ``://``, can be the container of all rules."""
    build = "Build one by `apptainer build sliceaug.sif envs/sliceaug.def`"
    if image == NONE:
        fail(["container"], "sliceaug.sif", f"--sdm apptainer needs an image, and container is none. {build}")
    if "://" not in image and not Path(image).is_file():
        what = f"container names {image!r}, which is no file here. {build}"
        fail(["container"], "sliceaug.sif", what)
