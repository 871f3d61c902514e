# What the synthetic cases are worth: to the segmenter, and to the eye of a feature network.


rule score_segmentation:
    input:
        cases=COHORT["cases"],
        arm=rules.train_segmentation.output.arm,
        predictions=rules.predict_segmentation.output.table,
    output:
        dice=f"{ARM}/dice.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/score_segmentation/{{arm}}/seed~{{seed}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/score_segmentation/{{arm}}/seed~{{seed}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime="4h",
    params:
        config=block(regions=config["regions"], **config["evaluation"]["segmentation"]),
        code=code("score_segmentation"),
    shell:
        "python -m workflow_scripts.score_segmentation --config {params.config:q} --predictions {input.predictions:q}"
        " --arm {input.arm:q} --cases {input.cases:q} --out {output.dice:q} --threads {threads} 2>&1 | tee {log:q}"


rule evaluate_images:
    input:
        **COHORT,
        tables=synthetic_blocks,
    output:
        fid=f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/fid.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/evaluate_images/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/evaluate_images/{{system}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 8
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime="4h",
        gpu=1,
    params:
        config=block(**config["evaluation"]["images"]),
        volumes=VOLUMES,
        synthetic=f"{N}/synthetic/{{system}}",
        code=code("evaluate_images"),
    shell:
        "python -m workflow_scripts.evaluate_images --config {params.config:q} --cases {input.cases:q}"
        " --splits {input.splits:q} --volumes {params.volumes:q} --synthetic {params.synthetic:q}"
        " --tables {input.tables:q} --n-real {wildcards.n_real} --system {wildcards.system:q}"
        " --out {output.fid:q} --threads {threads} 2>&1 | tee {log:q}"


rule measure_cost:
    input:
        attached_depth_decoder,
        weights=rules.train_generator.output.weights,
        contract=rules.train_generator.output.contract,
    output:
        cost=f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/cost.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/measure_cost/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/measure_cost/{{system}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 8
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime="1h",
        gpu=1,
    params:
        config=cost_block,
        model=subpath(input.contract, parent=True),
        code=code("measure_cost"),
    shell:
        "python -m workflow_scripts.measure_cost --config {params.config:q} --model {params.model:q}"
        " --n-real {wildcards.n_real} --out {output.cost:q} --threads {threads} 2>&1 | tee {log:q}"


rule compare_decoders:
    input:
        attached_depth_decoder,
        splits=COHORT["splits"],
        weights=rules.train_generator.output.weights,
        contract=rules.train_generator.output.contract,
    output:
        table=f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/decoders.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/compare_decoders/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/compare_decoders/{{system}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 8
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime="1h",
        gpu=1,
    params:
        config=cost_block,
        model=subpath(input.contract, parent=True),
        volumes=VOLUMES,
        code=code("compare_decoders"),
    shell:
        "python -m workflow_scripts.compare_decoders --config {params.config:q} --model {params.model:q}"
        " --splits {input.splits:q} --volumes {params.volumes:q} --n-real {wildcards.n_real}"
        " --out {output.table:q} --threads {threads} 2>&1 | tee {log:q}"
