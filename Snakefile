# SliceAug: how much does synthetic data help tumour segmentation, with only n annotated patients?
# The stages are in rules/, one file each; config/README.md explains every key of the configuration.
import gc

from snakemake.utils import min_version

min_version("9.0")
# Planning makes many objects that all stay: looking through them for garbage again and again is a sixth of a dry run.
gc.set_threshold(100_000, 50, 100)


configfile: "config/config.yaml"


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


rule all:
    default_target: True
    input:
        f"{RUN}/report.html",


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
        expand(f"{N}/generator/{{system}}/model.json", n_real=N_REAL, system=SYSTEMS),


rule synthetic:
    input:
        expand(f"{N}/synthetic/{{system}}/cases.tsv", n_real=N_REAL, system=SYSTEMS),


rule segmentation:
    input:
        FILES.of_arms("dice.tsv"),


rule evaluation:
    input:
        FILES.of_arms("dice.tsv"),
        expand(
            f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/{{file}}.tsv",
            n_real=N_REAL,
            system=SYSTEMS,
            file=["images", "control", "masks", "memorisation"],
        ),


rule tables:
    input:
        table_files(".csv", ".md", ".tex"),
        expand(f"{RUN}/figures/{{figure}}.png", figure=WHOLE_FIGURES),
