# The answer: tables, figures and the report.


rule make_tables:
    input:
        dice=all_arms("dice.tsv"),
    output:
        csv=report(
            f"{RUN}/tables/augmentation_ratio.csv",
            caption="report/ratio_table.rst",
            category="Tables",
            labels={"table": "segmentation by augmentation ratio"},
        ),
        md=f"{RUN}/tables/augmentation_ratio.md",
        tex=f"{RUN}/tables/augmentation_ratio.tex",
        scores=f"{RUN}/evaluation/scores.tsv",
    log:
        f"{RUN}/logs/make_tables.log",
    benchmark:
        f"{RUN}/benchmarks/make_tables.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime="1h",
    params:
        config=block(**config["evaluation"]["tables"]),
        stem=subpath(output.csv, strip_suffix=".csv"),
        simulated=SIMULATED_FLAG,
        code=code("make_tables"),
    shell:
        "python -m workflow_scripts.make_tables --config {params.config:q} --dice {input.dice:q}"
        " --scores {output.scores:q} --out-stem {params.stem:q} {params.simulated} 2>&1 | tee {log:q}"


rule make_system_tables:
    input:
        ratios=f"{RUN}/tables/augmentation_ratio.csv",
        images=of_all_systems(f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/images.tsv"),
        costs=expand(f"{RUN}/evaluation/n_real~{N_REAL[-1]}/{{system}}/cost.tsv", system=SYSTEMS),
    output:
        multiext(f"{RUN}/tables/compute", ".md", ".tex"),
        multiext(f"{RUN}/tables/systems", ".md", ".tex"),
        compute=report(
            f"{RUN}/tables/compute.csv",
            caption="report/compute.rst",
            category="Tables",
            labels={"table": "cost of the systems"},
        ),
        systems=report(
            f"{RUN}/tables/systems.csv",
            caption="report/systems.rst",
            category="Tables",
            labels={"table": "the systems compared"},
        ),
    log:
        f"{RUN}/logs/make_system_tables.log",
    benchmark:
        f"{RUN}/benchmarks/make_system_tables.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime="1h",
    params:
        config=block(
            systems=config["system"],
            modalities=config["modalities"],
            regions=config["regions"],
            size=config["preprocessing"]["size"],
            comparison_ratio=config["evaluation"]["comparison_ratio"],
        ),
        out=subpath(output[0], parent=True),
        simulated=SIMULATED_FLAG,
        code=code("make_system_tables"),
    shell:
        "python -m workflow_scripts.make_system_tables --config {params.config:q} --ratios {input.ratios:q}"
        " --images {input.images:q} --costs {input.costs:q} --out {params.out:q} {params.simulated} 2>&1 | tee {log:q}"


rule make_image_tables:
    input:
        images=of_all_systems(f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/images.tsv"),
    output:
        csv=report(
            f"{RUN}/tables/images.csv",
            caption="report/images.rst",
            category="Tables",
            labels={"table": "image quality"},
        ),
        md=f"{RUN}/tables/images.md",
        tex=f"{RUN}/tables/images.tex",
    log:
        f"{RUN}/logs/make_image_tables.log",
    benchmark:
        f"{RUN}/benchmarks/make_image_tables.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime="1h",
    params:
        stem=subpath(output.csv, strip_suffix=".csv"),
        simulated=SIMULATED_FLAG,
        code=code("make_image_tables"),
    shell:
        "python -m workflow_scripts.make_image_tables --images {input.images:q} --out-stem {params.stem:q}"
        " {params.simulated} 2>&1 | tee {log:q}"


rule make_figures:
    input:
        scores=rules.make_tables.output.scores,
        table=rules.make_tables.output.csv,
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
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
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
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
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
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
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


rule make_control_tables:
    input:
        control=of_all_systems(f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/control.tsv"),
        masks=of_all_systems(f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/masks.tsv"),
    output:
        multiext(f"{RUN}/tables/control", ".md", ".tex"),
        multiext(f"{RUN}/tables/masks", ".md", ".tex"),
        control=report(
            f"{RUN}/tables/control.csv",
            caption="report/control.rst",
            category="Tables",
            labels={"table": "control: requested against measured tumours"},
        ),
        masks=report(
            f"{RUN}/tables/masks.csv",
            caption="report/masks.rst",
            category="Tables",
            labels={"table": "masks: validity and shapes"},
        ),
    log:
        f"{RUN}/logs/make_control_tables.log",
    benchmark:
        f"{RUN}/benchmarks/make_control_tables.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime="1h",
    params:
        config=block(**config["evaluation"]["tables"]),
        out=subpath(output[0], parent=True),
        simulated=SIMULATED_FLAG,
        code=code("make_control_tables"),
    shell:
        "python -m workflow_scripts.make_control_tables --config {params.config:q} --control {input.control:q}"
        " --masks {input.masks:q} --out {params.out:q} {params.simulated} 2>&1 | tee {log:q}"


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
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
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


rule make_decoder_table:
    input:
        quality=depth_decoders("reconstruction.tsv"),
        costs=depth_decoders("cost.tsv"),
        synthetic=expand(
            f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/decoders.tsv", n_real=N_REAL, system=DEPTH_DECODED
        ),
        fids=expand(
            f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/decoder_fid.tsv", n_real=N_REAL, system=DEPTH_DECODED
        ),
    output:
        csv=report(
            f"{RUN}/tables/depth_decoder.csv",
            caption="report/depth_decoder.rst",
            category="Tables",
            labels={"table": "decoding along depth"},
        ),
        md=f"{RUN}/tables/depth_decoder.md",
        tex=f"{RUN}/tables/depth_decoder.tex",
    log:
        f"{RUN}/logs/make_decoder_table.log",
    benchmark:
        f"{RUN}/benchmarks/make_decoder_table.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime="30m",
    params:
        config=block(**config["evaluation"]["tables"]),
        stem=subpath(output.csv, strip_suffix=".csv"),
        simulated=SIMULATED_FLAG,
        code=code("make_decoder_table"),
    shell:
        "python -m workflow_scripts.make_decoder_table --config {params.config:q} --quality {input.quality:q} --costs {input.costs:q}"
        " --synthetic {input.synthetic:q} --fids {input.fids:q} --out-stem {params.stem:q} {params.simulated}"
        " 2>&1 | tee {log:q}"


# What the report reads, but for the cohort and the cost table: all that the study makes leads here.
ANSWER = dict(
    table=f"{RUN}/tables/augmentation_ratio.csv",
    systems=f"{RUN}/tables/systems.csv",
    compute=f"{RUN}/tables/compute.csv",
    ratio_figure=f"{RUN}/figures/dice_vs_ratio.png",
    case_figures=of_all_systems(f"{RUN}/figures/n_real~{{n_real}}/real_and_synthetic_{{system}}.png"),
    viewer=f"{RUN}/figures/n_real~{N_REAL[-1]}/viewer.json",
    decoders=decoder_tables(".csv"),
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


# Benchmark files are side products: as inputs, a lost one would run its job again. So the last outputs of all branches
# are the inputs, and the table is made when nothing is left to run but itself and the report.
rule make_cost_table:
    input:
        **ANSWER,
    output:
        csv=report(
            f"{RUN}/tables/cost.csv",
            caption="report/cost.rst",
            category="Tables",
            labels={"table": "what the run cost"},
        ),
        md=f"{RUN}/tables/cost.md",
    log:
        f"{RUN}/logs/make_cost_table.log",
    benchmark:
        f"{RUN}/benchmarks/make_cost_table.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime="1h",
    params:
        run=subpath(output.csv, ancestor=2),
        stages=measured_rules(),
        stem=subpath(output.csv, strip_suffix=".csv"),
        code=code("make_cost_table"),
    shell:
        "python -m workflow_scripts.make_cost_table --run {params.run:q} --stages {params.stages:q}"
        " --out-stem {params.stem:q} 2>&1 | tee {log:q}"


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
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime="1h",
    params:
        config=block(**config),
        files=input_options,
        simulated=SIMULATED_FLAG,
        code=code("make_report"),
    shell:
        "python -m workflow_scripts.make_report --config {params.config:q} {params.files} {params.simulated}"
        " --out {output.html:q} 2>&1 | tee {log:q}"
