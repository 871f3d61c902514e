# Are synthetic cases copies of training cases? The training set to compare with, real cases as the yardstick, the audit.


rule memorisation_reference:
    input:
        train=TRAIN,
    output:
        arrays=f"{N}/memorisation/reference.safetensors",
        description=f"{N}/memorisation/reference.json",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/memorisation_reference.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/memorisation_reference.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 4
    resources:
        mem_mb=memory(4000),
        runtime="1h",
    params:
        config=block(**{key: config["memorisation"][key] for key in ("resolution_mm", "max_shift_mm")}),
        out=subpath(output.description, parent=True),
        code=code("memorisation_reference"),
    shell:
        "python -m workflow_scripts.memorisation_reference --config {params.config:q} --train {input.train:q}"
        " --out {params.out:q} --threads {threads} 2>&1 | tee {log:q}"


rule calibrate_memorisation:
    input:
        train=TRAIN,
        val=VAL,
        test=TEST,
        reference=rules.memorisation_reference.output.description,
        arrays=rules.memorisation_reference.output.arrays,
    output:
        real=f"{RUN}/evaluation/n_real~{{n_real}}/memorisation/real.tsv",
        features=f"{RUN}/evaluation/n_real~{{n_real}}/memorisation/train_features.safetensors",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/calibrate_memorisation.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/calibrate_memorisation.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 8
    resources:
        mem_mb=memory(4000),
        runtime="4h",
        gpu=1,
    params:
        config=block(**AUDIT_IMAGES),
        reference=subpath(input.reference, parent=True),
        code=code("calibrate_memorisation"),
    shell:
        "python -m workflow_scripts.calibrate_memorisation --config {params.config:q} --train {input.train:q}"
        " --val {input.val:q} --test {input.test:q} --reference {params.reference:q} --out {output.real:q}"
        " --features {output.features:q} --threads {threads} 2>&1 | tee {log:q}"


rule audit_memorisation:
    input:
        train=TRAIN,
        reference=rules.memorisation_reference.output.description,
        arrays=rules.memorisation_reference.output.arrays,
        real=rules.calibrate_memorisation.output.real,
        features=rules.calibrate_memorisation.output.features,
        cases=rules.gather_synthetic.output.cases,
        rejected=rules.gather_synthetic.output.rejected,
        control=copy_control_files,
    output:
        table=f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/memorisation.tsv",
        summary=f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/memorisation_summary.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/audit_memorisation/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/audit_memorisation/{{system}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 8
    resources:
        mem_mb=memory(4000),
        runtime="4h",
        gpu=1,
    params:
        config=audit_block,
        control=copy_control_options,
        reference=subpath(input.reference, parent=True),
        synthetic=subpath(input.cases, parent=True),
        code=code("audit_memorisation"),
    shell:
        "python -m workflow_scripts.audit_memorisation --config {params.config:q} --train {input.train:q}"
        " --reference {params.reference:q} --real {input.real:q} --features {input.features:q}"
        " --synthetic {params.synthetic:q} --table {input.cases:q} --rejected {input.rejected:q} {params.control}"
        " --system {wildcards.system:q} --out {output.table:q} --summary {output.summary:q} --threads {threads}"
        " 2>&1 | tee {log:q}"


rule figure_memorisation:
    input:
        train=TRAIN,
        val=VAL,
        test=TEST,
        table=rules.audit_memorisation.output.table,
    output:
        png=report(
            f"{RUN}/figures/n_real~{{n_real}}/memorisation_{{system}}.png",
            caption="report/memorisation_figure.rst",
            category="Figures",
            labels={
                "figure": "synthetic cases and their nearest training cases",
                "system": "{system}",
                "real patients": "{n_real}",
            },
        ),
    log:
        f"{RUN}/logs/n_real~{{n_real}}/figure_memorisation/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/figure_memorisation/{{system}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime="1h",
    params:
        config=block(**config["evaluation"]["figures"], modalities=config["modalities"]),
        synthetic=f"{N}/synthetic/{{system}}",
        simulated=SIMULATED_FLAG,
        code=code("figure_memorisation"),
    shell:
        "python -m workflow_scripts.figure_memorisation --config {params.config:q} --train {input.train:q}"
        " --val {input.val:q} --test {input.test:q} --table {input.table:q} --synthetic {params.synthetic:q}"
        " --system {wildcards.system:q} --out {output.png:q} {params.simulated} 2>&1 | tee {log:q}"
