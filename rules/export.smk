# What leaves the study: its mixes as nnU-Net raw data sets, datasheets of the synthetic cases, cards of the generators, whose
# folders are then MONAI bundles.
# None of it is part of the answer: `snakemake export`.


use rule stage as export_real with:
    input:
        train=TRAIN,
        val=VAL,
    output:
        out=f"{RUN}/export/n_real~{{n_real}}/real/cases.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/export_real.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/export_real.tsv"
    params:
        **run("segmentation.export_real", blocks.picked(config, ("regions",))),


use rule stage as export_mix with:
    input:
        real=FILES.exported_real,
        tables=FILES.exported_synthetic,
        audit=FILES.exported_audit,
    output:
        f"{RUN}/export/nnUNet_raw/{{dataset}}/splits_final.json",
        f"{RUN}/export/nnUNet_raw/{{dataset}}/provenance.tsv",
        out=f"{RUN}/export/nnUNet_raw/{{dataset}}/dataset.json",
    log:
        f"{RUN}/logs/export_mix/{{dataset}}.log",
    benchmark:
        f"{RUN}/benchmarks/export_mix/{{dataset}}.tsv"
    params:
        **run(
            "segmentation.export_mix",
            lambda config, wildcards: blocks.export_mix(config, FILES.exports[wildcards.dataset]),
            synthetic=lambda config, wildcards: FILES.exported_folder(wildcards),
            system=lambda config, wildcards: FILES.exported_system(wildcards),
        ),


use rule stage as describe_synthetic with:
    input:
        table=f"{N}/synthetic/{{system}}/cases.tsv",
        rejected=f"{N}/synthetic/{{system}}/rejected.tsv",
        audit=rules.audit_memorisation.output.summary,
    output:
        out=f"{N}/synthetic/{{system}}/croissant.json",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/describe_synthetic/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/describe_synthetic/{{system}}.tsv"
    params:
        **run("reporting.describe_synthetic", blocks.datasheet),


use rule stage as write_model_card with:
    input:
        model=FILES.model,
        release=rules.gather_synthetic.output.release,
    output:
        f"{N}/generator/{{system}}/configs/metadata.json",
        f"{N}/generator/{{system}}/configs/inference.json",
        out=f"{N}/generator/{{system}}/README.md",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/write_model_card/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/write_model_card/{{system}}.tsv"
    params:
        **run("reporting.write_model_card", simulated=SIMULATED),
