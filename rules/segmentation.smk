# Each segmenter: one plan from the real training cases, one pool of preprocessed cases, arms that are lists of cases.


rule plan_segmentation:
    input:
        train=TRAIN,
    output:
        plan=f"{SEGMENTER}/plan.json",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/plan_segmentation/{{segmenter}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/plan_segmentation/{{segmenter}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 4
    resources:
        mem_mb=memory(8000),
        runtime="2h",
    params:
        config=block(
            modalities=config["modalities"],
            regions=config["regions"],
            **{key: config["segmentation"][key] for key in ("patch_size", "batch_size", "features_per_stage")},
        ),
        code=code_of_segmenter("plan_segmentation", "plan"),
    shell:
        "python -m workflow_scripts.plan_segmentation --config {params.config:q} --train {input.train:q}"
        " --segmenter {wildcards.segmenter:q} --out {output.plan:q} --threads {threads} 2>&1 | tee {log:q}"


rule pool_real:
    input:
        train=TRAIN,
        val=VAL,
        plan=rules.plan_segmentation.output.plan,
    output:
        table=f"{SEGMENTER}/pool_real.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/pool_real/{{segmenter}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/pool_real/{{segmenter}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(8000),
        runtime="4h",
    params:
        pool=subpath(output.table, parent=True),
        code=code_of_segmenter("pool_real", "pool"),
    shell:
        "python -m workflow_scripts.pool_real --plan {input.plan:q} --train {input.train:q} --val {input.val:q}"
        " --pool {params.pool:q}/pool --out {output.table:q} --threads {threads} 2>&1 | tee {log:q}"


rule pool_synthetic:
    input:
        plan=rules.plan_segmentation.output.plan,
        table=rules.synthesize.output.table,
    output:
        table=f"{SEGMENTER}/pool_{{system}}/{{block}}.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/pool_synthetic/{{segmenter}}/{{system}}/{{block}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/pool_synthetic/{{segmenter}}/{{system}}/{{block}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(8000),
        runtime="2h",
    params:
        synthetic=subpath(input.table, ancestor=2),
        pool=subpath(output.table, ancestor=2),
        code=code_of_segmenter("pool_synthetic", "pool"),
    shell:
        "python -m workflow_scripts.pool_synthetic --plan {input.plan:q} --table {input.table:q}"
        " --synthetic {params.synthetic:q} --pool {params.pool:q}/pool --system {wildcards.system:q}"
        " --out {output.table:q} --threads {threads} 2>&1 | tee {log:q}"


rule train_segmentation:
    input:
        plan=rules.plan_segmentation.output.plan,
        real=rules.pool_real.output.table,
        synthetic=arm_pool,
    output:
        weights=f"{ARM}/model.safetensors",
        arm=f"{ARM}/arm.json",
        progress=f"{ARM}/progress.csv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/train_segmentation/{{segmenter}}/{{arm}}/seed~{{seed}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/train_segmentation/{{segmenter}}/{{arm}}/seed~{{seed}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 8
    resources:
        mem_mb=memory(16000),
        runtime="48h",
        gpu=1,
    params:
        config=block(
            **{
                key: config["segmentation"][key]
                for key in (
                    "epochs",
                    "iterations_per_epoch",
                    "val_iterations_per_epoch",
                    "initial_learning_rate",
                    "augmentation",
                    "precision",
                    "workers",
                    "checkpoint_minutes",
                )
            }
        ),
        pool=subpath(input.real, parent=True),
        out=subpath(output.arm, parent=True),
        state=STATE,
        code=code_of_segmenter("train_segmentation", "train"),
    shell:
        "python -m workflow_scripts.train_segmentation --config {params.config:q} --plan {input.plan:q}"
        " --pool {params.pool:q}/pool --real {input.real:q} --synthetic {input.synthetic:q}"
        " --out {params.out:q} --state {params.state:q} --threads {threads} 2>&1 | tee {log:q}"


# All seeds of an arm by one job, as they are scored: a start of Python and a submission for each would cost more. A
# training writes its weights and then arm.json.
rule predict_segmentation:
    input:
        test=TEST,
        plan=rules.plan_segmentation.output.plan,
        arms=of_seeds(rules.train_segmentation.output.arm),
    output:
        tables=of_seeds(f"{ARM}/predictions.tsv"),
    log:
        f"{RUN}/logs/n_real~{{n_real}}/predict_segmentation/{{segmenter}}/{{arm}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/predict_segmentation/{{segmenter}}/{{arm}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 8
    resources:
        mem_mb=memory(12000),
        runtime="24h",
        gpu=1,
    params:
        config=block(**{key: config["segmentation"][key] for key in ("mirroring", "precision")}),
        code=code_of_segmenter("predict_segmentation", "predict"),
    shell:
        "python -m workflow_scripts.predict_segmentation --config {params.config:q} --test {input.test:q}"
        " --arm {input.arms:q} --plan {input.plan:q} --out {output.tables:q} --threads {threads}"
        " 2>&1 | tee {log:q}"
