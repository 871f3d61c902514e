"""Where the files of a study are: lists of paths for the rules, whole or as functions of a job's wildcards."""

from collections.abc import Callable, Sequence
from typing import Any

from .arms import CEILING, REAL_ONLY, Arm, arms_of_study, blocks_for, others_of, synthetic_count, train_sizes
from .blocks import system_of_autoencoder
from .exports import exported
from .generators import KINDS, is_external, starts

MODEL = ("model.safetensors", "model.json")
STUDY = "study.json"  # in a run's folder: the settings that its files were made with (`operations.study_file`)


class Files:
    """Paths below the folder of a run.

    run : str, the run's folder
    arms : every arm of the study
    n_real, train_sizes : patients of the train subsets that are studied; of all, those of the learning curve with them
    others : n_real -> other patients of its ladder
    autoencoders : their names
    exports : folder of an nnU-Net raw data set -> the mix in it
    systems : names of all systems; external: of those whose cases are read from a folder; sampled: of the others
    """

    def __init__(self, config: dict):
        self.config, self.run = config, f"{config['results']}/{config['run']}"
        self.systems, self.n_real = config["systems"], config["splits"]["n_real"]
        self.external = [name for name in self.systems if is_external(config["system"][name])]
        self.sampled = [name for name in self.systems if name not in self.external]
        blocks = [system["autoencoder"] for system in config["system"].values()]
        self.autoencoders = sorted({block["name"] for block in blocks if block})
        self.arms = arms_of_study(config["segmentation"], self.systems, self.n_real, self.autoencoders)
        self.exports = exported(self.arms, self.n_real, config["run"])
        self.train_sizes = train_sizes(config["segmentation"], self.n_real)
        self.others = others_of(config["segmentation"], self.n_real)

    def _n(self, wildcards: Any) -> str:
        return f"{self.run}/n_real~{wildcards.n_real}"

    def _of_space(self, wildcards: Any, kind: str, names: Sequence[str]) -> list[str]:
        autoencoder = self.config["system"][wildcards.system]["autoencoder"]
        return [f"{self._n(wildcards)}/{kind}/{autoencoder['name']}/{name}" for name in names if autoencoder]

    def starts(self) -> list[str]:
        """The contracts of all models that trainings start from."""
        folders = {folder for system in self.config["system"].values() for folder in starts(system).values()}
        return [f"{folder}/model.json" for folder in sorted(folders)]

    def autoencoder_start(self, wildcards: Any) -> list[str]:
        """The model that the training of the autoencoder {name} starts from, if any."""
        return self._start(system_of_autoencoder(self.config, wildcards.name), "autoencoder")

    def generator_start(self, wildcards: Any) -> list[str]:
        """The model that the training of a {system} starts from, if any."""
        system = self.config["system"][wildcards.system]
        return self._start(system, KINDS[system["kind"]].trained_by)

    @staticmethod
    def _start(system: dict, block: str | None) -> list[str]:
        folder = starts(system).get(block or "")
        return [f"{folder}/{name}" for name in MODEL] if folder else []

    def latents(self, wildcards: Any) -> list[str]:
        """The latents that a {system} is trained on; none for a system in voxel space."""
        return self._of_space(wildcards, "latents", ("latents.safetensors", "latents.json"))

    def autoencoder(self, wildcards: Any) -> list[str]:
        """The autoencoder of a {system}; none for a system in voxel space."""
        return self._of_space(wildcards, "autoencoder", MODEL)

    def lent_model(self, wildcards: Any) -> list[str]:
        """The trained generator of another system, for a {system} that draws with it and learns nothing."""
        lender = self.config["system"][wildcards.system]["generator"]
        return [f"{self._n(wildcards)}/generator/{lender}/{name}" for name in MODEL if lender]

    def training_latents(self, wildcards: Any) -> list[str]:
        """As `latents`; none for a {system} that learns nothing."""
        return [] if self.lent_model(wildcards) else self.latents(wildcards)

    def training_autoencoder(self, wildcards: Any) -> list[str]:
        """As `autoencoder`; none for a {system} that learns nothing."""
        return [] if self.lent_model(wildcards) else self.autoencoder(wildcards)

    def volumes(self, wildcards: Any) -> list[str]:
        """The train subset, for a {system} in voxel space; none for a system over latents."""
        return [] if self.latents(wildcards) else [f"{self._n(wildcards)}/train/manifest.json"]

    def judged_by(self, wildcards: Any) -> list[str]:
        """The validation subset, for a {system} whose training chooses a step by it; none for others."""
        asked = (self.config["system"][wildcards.system].get("diffusion") or {}).get("held_out_every_steps")
        return [f"{self.run}/cohort/val/manifest.json"] if asked and not self.lent_model(wildcards) else []

    def model(self, wildcards: Any) -> list[str]:
        """The trained generator of a {system}."""
        return [f"{self._n(wildcards)}/generator/{wildcards.system}/{name}" for name in MODEL]

    def model_over_latents(self, wildcards: Any) -> list[str]:
        """As `model`; none for a system in voxel space."""
        return self.model(wildcards) if self.latents(wildcards) else []

    def hosts(self, wildcards: Any) -> list[str]:
        """The train subset, for a {system} that puts tumours into its patients."""
        return [f"{self._n(wildcards)}/train/manifest.json"] if self._in_hosts(wildcards) else []

    def _in_hosts(self, wildcards: Any) -> bool:
        return KINDS[self.config["system"][wildcards.system]["kind"]].hosts

    def copies(self, wildcards: Any) -> list[str]:
        """The training set that the release gate compares with, where copies of training cases are refused.

        A tumour that is a training patient's on purpose is not refused for it.
        """
        kind = KINDS[self.config["system"][wildcards.system]["kind"]]
        return (
            self.reference(wildcards) if self.config["memorisation"]["action"] == "refuse" and not kind.donors else []
        )

    def _compared(self, wildcards: Any) -> str:
        """What of a {system}'s cases is compared with training cases: tumours alone where it makes its cases in those."""
        return "tumours" if self._in_hosts(wildcards) else "cases"

    def reference(self, wildcards: Any) -> list[str]:
        """The training set that a {system}'s cases are compared with."""
        folder = f"{self._n(wildcards)}/memorisation/{self._compared(wildcards)}"
        return [f"{folder}/reference.{kind}" for kind in ("safetensors", "json")]

    def real_cases(self, file: str) -> Callable[[Any], str]:
        """A file of calibrate_memorisation, of what a {system}'s cases are compared by."""
        place = "evaluation/n_real~{n_real}/memorisation/{compared}"
        return lambda wildcards: "/".join(
            (self.run, place.format(n_real=wildcards.n_real, compared=self._compared(wildcards)), file)
        )

    def _blocks(self, folder: str, n_real: Any, ratio: float) -> list[str]:
        count = synthetic_count(int(n_real), float(ratio))
        return [f"{folder}/{number}.tsv" for number in blocks_for(count, self.config["synthesis"]["block_size"])]

    def block(self, wildcards: Any) -> str:
        """The table of a {block} of a {system}'s cases; those of an external one are all in one."""
        folder = f"{self._n(wildcards)}/synthetic/{wildcards.system}"
        return f"{folder}/cases.tsv" if wildcards.system in self.external else f"{folder}/blocks/{wildcards.block}.tsv"

    def ungated(self, wildcards: Any) -> str:
        """The table that says what is wrong with a {system}'s masks before any gate: of its control, or of all that was read."""
        if wildcards.system in self.external:
            return f"{self.run}/external/{wildcards.system}/cases.tsv"
        return f"{self.run}/evaluation/n_real~{wildcards.n_real}/{wildcards.system}/control.tsv"

    def most_synthetic(self, n_real: Any) -> int:
        """Synthetic cases of a system that the study needs: of its largest arm, and as many as real ones to look at."""
        segmentation = self.config["segmentation"]
        return synthetic_count(int(n_real), max(1, *segmentation["ratios"], *segmentation["synthetic_only_ratios"]))

    def first_synthetic(self, wildcards: Any) -> list[str]:
        """Tables of as many synthetic cases as real training patients, or more: what image metrics and figures look at."""
        if wildcards.system in self.external:
            return [f"{self._n(wildcards)}/synthetic/{wildcards.system}/cases.tsv"]
        return self._blocks(f"{self._n(wildcards)}/synthetic/{wildcards.system}/blocks", wildcards.n_real, 1)

    def all_synthetic(self, wildcards: Any) -> list[str]:
        """Tables of all synthetic cases of a {system}."""
        segmentation = self.config["segmentation"]
        most = max(1, *segmentation["ratios"], *segmentation["synthetic_only_ratios"])
        return self._blocks(f"{self._n(wildcards)}/synthetic/{wildcards.system}/blocks", wildcards.n_real, most)

    def all_rejected(self, wildcards: Any) -> list[str]:
        """Tables of the refused draws of a {system}."""
        return [path.replace(".tsv", ".rejected.tsv") for path in self.all_synthetic(wildcards)]

    def pool(self, wildcards: Any) -> list[str]:
        """Tables of the synthetic cases, preprocessed for the {segmenter}, that an {arm} draws on."""
        segmenter = f"{self._n(wildcards)}/segmentation/{wildcards.segmenter}"
        arm = Arm.of_folder(f"{segmenter}/{wildcards.arm}")
        folder = f"{segmenter}/pool_{arm.system}"
        made = arm.system != REAL_ONLY and not arm.is_control
        if made and arm.system in self.external:
            return [f"{folder}/0.tsv"]
        return self._blocks(folder, wildcards.n_real, arm.ratio) if made else []

    def others_pool(self, wildcards: Any) -> list[str]:
        """The table beside the preprocessed cases that an {arm} of the ladder adds to the real ones."""
        segmenter = f"{self._n(wildcards)}/segmentation/{wildcards.segmenter}"
        arm = Arm.of_folder(f"{segmenter}/{wildcards.arm}")
        place = "real" if arm.control == CEILING else f"reconstructions/{arm.system}"
        return [f"{segmenter}/ladder/{place}/cases.tsv"] if arm.of_ladder else []

    def exported_real(self, wildcards: Any) -> str:
        """The table of the real cases of the mix in a {dataset}."""
        return f"{self.run}/export/n_real~{self.exports[wildcards.dataset].n_real}/real/cases.tsv"

    def exported_system(self, wildcards: Any) -> str | None:
        """The system of the mix in a {dataset}; None for real only."""
        system = self.exports[wildcards.dataset].system
        return None if system == REAL_ONLY else system

    def exported_folder(self, wildcards: Any) -> str | None:
        """Where the synthetic cases of the mix in a {dataset} are."""
        arm, system = self.exports[wildcards.dataset], self.exported_system(wildcards)
        return system and f"{self.run}/n_real~{arm.n_real}/synthetic/{system}"

    def exported_synthetic(self, wildcards: Any) -> list[str]:
        """Tables of the synthetic cases of the mix in a {dataset}."""
        arm, folder = self.exports[wildcards.dataset], self.exported_folder(wildcards)
        if folder is None or arm.system in self.external:
            return [f"{folder}/cases.tsv"] * bool(folder)
        return self._blocks(f"{folder}/blocks", arm.n_real, arm.ratio)

    def exported_audit(self, wildcards: Any) -> list[str]:
        """The audit of the synthetic cases of the mix in a {dataset}; none for real only."""
        arm, system = self.exports[wildcards.dataset], self.exported_system(wildcards)
        return [f"{self.run}/evaluation/n_real~{arm.n_real}/{system}/memorisation.tsv"] * bool(system)

    def of_arms(self, file: str) -> list[str]:
        """A file of every arm."""
        return [f"{self.run}/{arm.folder}/{file}" for arm in self.arms]

    def of_systems(self, pattern: str, systems: Sequence[str] | None = None) -> list[str]:
        """The pattern with each {n_real} and {system}."""
        chosen = self.systems if systems is None else systems
        return [pattern.format(n_real=size, system=system) for size in self.n_real for system in chosen]

    def evaluations(self, file: str, systems: Sequence[str] | None = None) -> list[str]:
        """A file of the evaluation of each system and n_real."""
        return self.of_systems(f"{self.run}/evaluation/n_real~{{n_real}}/{{system}}/{file}", systems)

    def of_autoencoders(self, file: str) -> list[str]:
        """A file of every autoencoder."""
        folders = [f"{self.run}/n_real~{size}/autoencoder" for size in self.n_real]
        return [f"{folder}/{name}/{file}" for folder in folders for name in self.autoencoders]
