# The answer: tables, figures and the report.


rule make_tables:
    input:
        dice=all_arms("dice.tsv"),
    output:
        csv=f"{RUN}/tables/augmentation_ratio.csv",
        md=f"{RUN}/tables/augmentation_ratio.md",
        tex=f"{RUN}/tables/augmentation_ratio.tex",
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
        " --out-stem {params.stem:q} {params.simulated} 2>&1 | tee {log:q}"


rule make_system_tables:
    input:
        ratios=f"{RUN}/tables/augmentation_ratio.csv",
        fid=of_all_systems(f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/fid.tsv"),
        costs=expand(f"{RUN}/evaluation/n_real~{N_REAL[-1]}/{{system}}/cost.tsv", system=SYSTEMS),
    output:
        multiext(f"{RUN}/tables/compute", ".csv", ".md", ".tex"),
        multiext(f"{RUN}/tables/systems", ".csv", ".md", ".tex"),
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
        " --fid {input.fid:q} --costs {input.costs:q} --out {params.out:q} {params.simulated} 2>&1 | tee {log:q}"


rule make_figures:
    input:
        dice=all_arms("dice.tsv"),
        table=f"{RUN}/tables/augmentation_ratio.csv",
    output:
        png=f"{RUN}/figures/dice_vs_ratio.png",
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
        "python -m workflow_scripts.make_figures --config {params.config:q} --dice {input.dice:q}"
        " --table {input.table:q} --out {output.png:q} {params.simulated} 2>&1 | tee {log:q}"


rule figure_cases:
    input:
        **COHORT,
        tables=synthetic_blocks,
    output:
        png=f"{RUN}/figures/n_real~{{n_real}}/real_and_synthetic_{{system}}.png",
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
        volumes=VOLUMES,
        synthetic=f"{N}/synthetic/{{system}}",
        simulated=SIMULATED_FLAG,
        code=code("figure_cases"),
    shell:
        "python -m workflow_scripts.figure_cases --config {params.config:q} --cases {input.cases:q}"
        " --splits {input.splits:q} --volumes {params.volumes:q} --synthetic {params.synthetic:q}"
        " --tables {input.tables:q} --n-real {wildcards.n_real} --system {wildcards.system:q} --out {output.png:q}"
        " {params.simulated} 2>&1 | tee {log:q}"


# Benchmark files are side products: as inputs, a lost one would run its job again. So the last outputs of all branches
# are the inputs here, that the table is made when nothing runs any more but itself and the report.
rule make_cost_table:
    input:
        f"{RUN}/tables/augmentation_ratio.csv",
        f"{RUN}/tables/systems.csv",
        f"{RUN}/figures/dice_vs_ratio.png",
        of_all_systems(f"{RUN}/figures/n_real~{{n_real}}/real_and_synthetic_{{system}}.png"),
        of_all_systems(f"{N}/synthetic/{{system}}/cases.tsv"),
    output:
        csv=f"{RUN}/tables/cost.csv",
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
        **COHORT,
        rejected=rules.merge_cohort.output.rejected,
        table=f"{RUN}/tables/augmentation_ratio.csv",
        systems=f"{RUN}/tables/systems.csv",
        compute=f"{RUN}/tables/compute.csv",
        cost=f"{RUN}/tables/cost.csv",
        ratio_figure=f"{RUN}/figures/dice_vs_ratio.png",
        case_figures=of_all_systems(f"{RUN}/figures/n_real~{{n_real}}/real_and_synthetic_{{system}}.png"),
        fid=of_all_systems(f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/fid.tsv"),
        synthetic=of_all_systems(f"{N}/synthetic/{{system}}/cases.tsv"),
        synthetic_rejected=of_all_systems(f"{N}/synthetic/{{system}}/rejected.tsv"),
        reconstruction=expand(f"{N}/autoencoder/{{name}}/reconstruction.tsv", n_real=N_REAL, name=AUTOENCODERS),
    output:
        html=f"{RUN}/report.html",
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
