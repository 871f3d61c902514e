# The answer: tables, figures and the report.


rule gather_scores:
    input:
        dice=all_arms("dice.tsv"),
    output:
        scores=f"{RUN}/evaluation/scores.tsv",
    log:
        f"{RUN}/logs/gather_scores.log",
    benchmark:
        f"{RUN}/benchmarks/gather_scores.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="1h",
    params:
        code=code("gather_scores"),
    shell:
        "python -m workflow_scripts.gather_scores --dice {input.dice:q} --scores {output.scores:q} 2>&1 | tee {log:q}"


rule make_figures:
    input:
        scores=rules.gather_scores.output.scores,
        table=f"{RUN}/tables/augmentation_ratio.csv",
    output:
        png=report(
            f"{RUN}/figures/dice_vs_ratio.png",
            caption="report/ratio_figure.rst",
            category="Figures",
            labels={"figure": "Dice against augmentation ratio", "system": "all", "real patients": "all"},
        ),
    log:
        f"{RUN}/logs/make_figures.log",
    benchmark:
        f"{RUN}/benchmarks/make_figures.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="1h",
    params:
        config=block(**config["evaluation"]["tables"]),
        simulated=SIMULATED_FLAG,
        code=code("make_figures"),
    shell:
        "python -m workflow_scripts.make_figures --config {params.config:q} --dice {input.scores:q}"
        " --table {input.table:q} --out {output.png:q} {params.simulated} 2>&1 | tee {log:q}"


rule figure_cases:
    input:
        train=TRAIN,
        tables=synthetic_blocks,
    output:
        png=report(
            f"{RUN}/figures/n_real~{{n_real}}/real_and_synthetic_{{system}}.png",
            caption="report/case_figure.rst",
            category="Figures",
            labels={
                "figure": "real and synthetic cases",
                "system": "{system}",
                "real patients": "{n_real}",
            },
        ),
    log:
        f"{RUN}/logs/n_real~{{n_real}}/figure_cases/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/figure_cases/{{system}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime="1h",
    params:
        config=block(**config["evaluation"]["figures"], regions=config["regions"], modalities=config["modalities"]),
        synthetic=f"{N}/synthetic/{{system}}",
        simulated=SIMULATED_FLAG,
        code=code("figure_cases"),
    shell:
        "python -m workflow_scripts.figure_cases --config {params.config:q} --train {input.train:q}"
        " --synthetic {params.synthetic:q} --tables {input.tables:q} --system {wildcards.system:q}"
        " --out {output.png:q} {params.simulated} 2>&1 | tee {log:q}"


rule pack_viewer:
    input:
        train=TRAIN,
        tables=expand(f"{N}/synthetic/{{system}}/cases.tsv", system=SYSTEMS, allow_missing=True),
    output:
        volumes=f"{RUN}/figures/n_real~{{n_real}}/viewer.json",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/pack_viewer.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/pack_viewer.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime="1h",
    params:
        config=block(
            **config["evaluation"]["report"],
            cases=config["evaluation"]["figures"]["cases"],
            modalities=config["modalities"],
            regions=config["regions"],
        ),
        simulated=SIMULATED_FLAG,
        code=code("pack_viewer"),
    shell:
        "python -m workflow_scripts.pack_viewer --config {params.config:q} --train {input.train:q}"
        " --tables {input.tables:q} --out {output.volumes:q} {params.simulated} 2>&1 | tee {log:q}"


rule figure_control_sweep:
    input:
        attached_depth_decoder,
        train=TRAIN,
        weights=rules.train_generator.output.weights,
        contract=rules.train_generator.output.contract,
    output:
        png=report(
            f"{RUN}/figures/n_real~{{n_real}}/control_sweep_{{system}}.png",
            caption="report/control_sweep.rst",
            category="Figures",
            labels={
                "figure": "one tumour that grows and moves",
                "system": "{system}",
                "real patients": "{n_real}",
            },
        ),
        table=f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/control_sweep.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/figure_control_sweep/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/figure_control_sweep/{{system}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 8
    resources:
        mem_mb=memory(8000),
        runtime="1h",
        gpu=1,
    params:
        config=sweep_block,
        model=subpath(input.contract, parent=True),
        simulated=SIMULATED_FLAG,
        code=code("figure_control_sweep"),
    shell:
        "python -m workflow_scripts.figure_control_sweep --config {params.config:q} --train {input.train:q}"
        " --model {params.model:q} --out {output.png:q} --table {output.table:q} {params.simulated}"
        " --threads {threads} 2>&1 | tee {log:q}"


# What the report reads, but for the cohort and the cost table: all that the study makes leads here.
ANSWER = dict(
    augmentation_ratio=f"{RUN}/tables/augmentation_ratio.csv",
    systems=f"{RUN}/tables/systems.csv",
    compute=f"{RUN}/tables/compute.csv",
    ratio_figure=f"{RUN}/figures/dice_vs_ratio.png",
    case_figures=of_all_systems(f"{RUN}/figures/n_real~{{n_real}}/real_and_synthetic_{{system}}.png"),
    viewer=f"{RUN}/figures/n_real~{N_REAL[-1]}/viewer.json",
    depth_decoder=f"{RUN}/tables/depth_decoder.csv" if DEPTH_DECODED else [],
    control=f"{RUN}/tables/control.csv",
    masks=f"{RUN}/tables/masks.csv",
    memorisation=f"{RUN}/tables/memorisation.csv",
    pairs=of_all_systems(f"{RUN}/figures/n_real~{{n_real}}/memorisation_{{system}}.png"),
    sweeps=SWEEP_FIGURES,
    images=f"{RUN}/tables/images.csv",
    synthetic=of_all_systems(f"{N}/synthetic/{{system}}/cases.tsv"),
    synthetic_rejected=of_all_systems(f"{N}/synthetic/{{system}}/rejected.tsv"),
    reconstruction=expand(f"{N}/autoencoder/{{name}}/reconstruction.tsv", n_real=N_REAL, name=AUTOENCODERS),
)

# What each table is made of. Benchmark files are side products: as inputs, a lost one would run its job again. So the last
# outputs of all branches are the inputs of the cost table, which is made when nothing is left to run but the report.
TABLE_FILES = {
    "augmentation_ratio": dict(scores=rules.gather_scores.output.scores),
    "compute": dict(costs=expand(f"{RUN}/evaluation/n_real~{N_REAL[-1]}/{{system}}/cost.tsv", system=SYSTEMS)),
    "systems": dict(
        ratios=f"{RUN}/tables/augmentation_ratio.csv",
        images=evaluations("images.tsv"),
        compute=f"{RUN}/tables/compute.csv",
    ),
    "images": dict(images=evaluations("images.tsv")),
    "control": dict(control=evaluations("control.tsv")),
    "masks": dict(masks=evaluations("masks.tsv")),
    "memorisation": dict(summaries=evaluations("memorisation_summary.tsv")),
    "depth_decoder": dict(
        quality=depth_decoders("reconstruction.tsv"),
        costs=depth_decoders("cost.tsv"),
        synthetic=evaluations("decoders.tsv", DEPTH_DECODED),
        fids=evaluations("decoder_fid.tsv", DEPTH_DECODED),
    ),
    "cost": ANSWER,
}


rule make_table:
    input:
        unpack(lambda wildcards: TABLE_FILES[wildcards.table]),
    output:
        csv=report(
            f"{RUN}/tables/{{table}}.csv",
            caption="report/result.rst",
            category="Tables",
            labels=lambda wildcards: {"table": TABLES[wildcards.table].label},
        ),
        md=f"{RUN}/tables/{{table}}.md",
        tex=f"{RUN}/tables/{{table}}.tex",
    log:
        f"{RUN}/logs/make_table/{{table}}.log",
    benchmark:
        f"{RUN}/benchmarks/make_table/{{table}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="1h",
    params:
        config=table_block,
        files=table_options,
        simulated=SIMULATED_FLAG,
        caption=lambda wildcards: TABLES[wildcards.table].said_of(config, SIMULATED),
        code=lambda wildcards: code("make_table", f"reporting.tables.{wildcards.table}"),
    shell:
        "python -m workflow_scripts.make_table {wildcards.table} --config {params.config:q} {params.files}"
        " --out {output.csv:q} {params.simulated} 2>&1 | tee {log:q}"


rule make_report:
    input:
        **ANSWER,
        cases=rules.merge_cohort.output.cases,
        splits=rules.split_cohort.output.splits,
        rejected=rules.merge_cohort.output.rejected,
        reference_rejected=rules.measure_reference_masks.output.rejected if REFERENCE_ROOT else [],
        cost=f"{RUN}/tables/cost.csv",
    output:
        html=report(
            f"{RUN}/report.html",
            caption="report/report.rst",
            category="Answer",
            labels={"page": "report.html"},
        ),
    log:
        f"{RUN}/logs/make_report.log",
    benchmark:
        f"{RUN}/benchmarks/make_report.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="1h",
    params:
        config=block(**config),
        files=input_options,
        simulated=SIMULATED_FLAG,
        code=code("make_report"),
    shell:
        "python -m workflow_scripts.make_report --config {params.config:q} {params.files} {params.simulated}"
        " --out {output.html:q} 2>&1 | tee {log:q}"
