# SliceAug: how much does synthetic data help tumour segmentation, with only n annotated patients?
# The stages are in rules/, one file each; config/README.md explains every key of the configuration.
import gc

from snakemake.utils import min_version

min_version("9.0")
# Planning makes many objects that all stay: looking through them for garbage again and again is a sixth of a dry run.
gc.set_threshold(100_000, 50, 100)


# a folder without one, of --directory, has the project's
configfile: "config/config.yaml" if exists("config/config.yaml") else str(workflow.current_basedir.join("config/config.yaml"))


report: "rules/report/workflow.rst"


include: "rules/common.smk"


container: config["container"]  # read with --sdm apptainer alone


include: "rules/stage.smk"
include: "rules/cohort.smk"
include: "rules/autoencoder.smk"
include: "rules/generator.smk"
include: "rules/synthesis.smk"
include: "rules/segmentation.smk"
include: "rules/evaluation.smk"
include: "rules/memorisation.smk"
include: "rules/reporting.smk"
include: "rules/export.smk"


localrules:
    all,
    cohort,
    autoencoder,
    latents,
    generator,
    synthetic,
    segmentation,
    evaluation,
    tables,
    export,


rule all:
    default_target: True
    input:
        f"{RUN}/report.html",
        TRACKED,


rule cohort:
    input:
        f"{RUN}/cohort/cases.tsv",
        f"{RUN}/cohort/splits.json",


rule autoencoder:
    input:
        FILES.of_autoencoders("model.json"),


rule latents:
    input:
        expand(f"{N}/latents/{{name}}/latents.json", n_real=N_REAL, name=FILES.autoencoders),


rule generator:
    input:
        expand(f"{N}/generator/{{system}}/model.json", n_real=N_REAL, system=SAMPLED),


rule synthetic:
    input:
        expand(f"{N}/synthetic/{{system}}/cases.tsv", n_real=N_REAL, system=SYSTEMS),


rule segmentation:
    input:
        FILES.of_arms("dice.tsv"),


rule evaluation:
    input:
        FILES.of_arms("dice.tsv"),
        FILES.evaluations("control.tsv", SAMPLED),
        [FILES.evaluations(f"{file}.tsv") for file in ("images", "masks", "memorisation")],


rule tables:
    input:
        table_files(".csv", ".md", ".tex"),
        expand(f"{RUN}/figures/{{figure}}.png", figure=WHOLE_FIGURES),


rule export:
    input:
        expand(f"{RUN}/export/nnUNet_raw/{{dataset}}/dataset.json", dataset=FILES.exports),
        FILES.of_systems(f"{N}/synthetic/{{system}}/croissant.json"),
        FILES.of_systems(f"{N}/generator/{{system}}/README.md", SAMPLED),
