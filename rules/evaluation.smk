# What the synthetic cases are worth: to the segmenter, and to the eye of a feature network.


rule score_segmentation:
    input:
        test=TEST,
        arms=of_seeds(rules.train_segmentation.output.arm),
        predictions=rules.predict_segmentation.output.tables,
    output:
        dice=of_seeds(f"{ARM}/dice.tsv"),
    log:
        f"{RUN}/logs/n_real~{{n_real}}/score_segmentation/{{segmenter}}/{{arm}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/score_segmentation/{{segmenter}}/{{arm}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime="12h",
    params:
        config=block(regions=config["regions"], **config["evaluation"]["segmentation"]),
        code=code("score_segmentation"),
    shell:
        "python -m workflow_scripts.score_segmentation --config {params.config:q} --test {input.test:q}"
        " --predictions {input.predictions:q} --arm {input.arms:q} --out {output.dice:q} --threads {threads}"
        " 2>&1 | tee {log:q}"


rule extract_real_features:
    input:
        val=VAL,
        test=TEST,
        train=TRAIN_SUBSETS,
    output:
        cases=f"{RUN}/evaluation/image_features.tsv",
        pairs=f"{RUN}/evaluation/image_pairs.tsv",
    log:
        f"{RUN}/logs/extract_real_features.log",
    benchmark:
        f"{RUN}/benchmarks/extract_real_features.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 8
    resources:
        mem_mb=memory(4000),
        runtime="12h",
        gpu=1,
    params:
        config=block(**IMAGE_FEATURES),
        features=f"{STATE}/image_features",
        code=code("extract_image_features"),
    shell:
        "python -m workflow_scripts.extract_image_features --config {params.config:q} --val {input.val:q}"
        " --test {input.test:q} --train {input.train:q} --features {params.features:q} --out {output.cases:q}"
        " --pairs {output.pairs:q} --threads {threads} 2>&1 | tee {log:q}"


rule extract_synthetic_features:
    input:
        val=VAL,
        tables=synthetic_blocks,
    output:
        cases=f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/image_features.tsv",
        pairs=f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/image_pairs.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/extract_synthetic_features/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/extract_synthetic_features/{{system}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 8
    resources:
        mem_mb=memory(4000),
        runtime="12h",
        gpu=1,
    params:
        config=block(**IMAGE_FEATURES),
        synthetic=f"{N}/synthetic/{{system}}",
        features=f"{STATE}/image_features",
        code=code("extract_image_features"),
    shell:
        "python -m workflow_scripts.extract_image_features --config {params.config:q} --val {input.val:q}"
        " --synthetic {params.synthetic:q} --tables {input.tables:q} --system {wildcards.system:q}"
        " --features {params.features:q} --out {output.cases:q} --pairs {output.pairs:q} --threads {threads}"
        " 2>&1 | tee {log:q}"


rule evaluate_images:
    input:
        train=TRAIN,
        val=VAL,
        test=TEST,
        real=rules.extract_real_features.output.cases,
        real_pairs=rules.extract_real_features.output.pairs,
        synthetic=rules.extract_synthetic_features.output.cases,
        synthetic_pairs=rules.extract_synthetic_features.output.pairs,
    output:
        images=f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/images.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/evaluate_images/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/evaluate_images/{{system}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 8
    resources:
        mem_mb=memory(6000),
        runtime="4h",
    params:
        config=block(
            **{key: config["evaluation"]["images"][key] for key in ("neighbours", "jackknife_groups")},
            intervals=config["evaluation"]["tables"],
        ),
        features=f"{STATE}/image_features",
        code=code("evaluate_images"),
    shell:
        "python -m workflow_scripts.evaluate_images --config {params.config:q} --train {input.train:q}"
        " --val {input.val:q} --test {input.test:q} --real {input.real:q} --real-pairs {input.real_pairs:q}"
        " --synthetic {input.synthetic:q} --synthetic-pairs {input.synthetic_pairs:q}"
        " --features {params.features:q} --system {wildcards.system:q} --out {output.images:q} --threads {threads}"
        " 2>&1 | tee {log:q}"


rule measure_cost:
    input:
        attached_depth_decoder,
        train=TRAIN,
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
        mem_mb=memory(8000),
        runtime="1h",
        gpu=1,
    params:
        config=cost_block,
        model=subpath(input.contract, parent=True),
        code=code("measure_cost"),
    shell:
        "python -m workflow_scripts.measure_cost --config {params.config:q} --train {input.train:q}"
        " --model {params.model:q} --out {output.cost:q} --threads {threads} 2>&1 | tee {log:q}"


rule measure_held_out:
    input:
        val=VAL,
        test=TEST,
    output:
        tumours=f"{RUN}/evaluation/held_out_tumours.tsv",
    log:
        f"{RUN}/logs/measure_held_out.log",
    benchmark:
        f"{RUN}/benchmarks/measure_held_out.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="1h",
    params:
        config=block(regions=config["regions"]),
        code=code("measure_held_out"),
    shell:
        "python -m workflow_scripts.measure_held_out --config {params.config:q} --val {input.val:q}"
        " --test {input.test:q} --out {output.tumours:q} 2>&1 | tee {log:q}"


rule measure_reference_masks:
    input:
        train=TRAIN_SUBSETS,
    output:
        tumours=f"{RUN}/evaluation/reference_masks.tsv",
        rejected=f"{RUN}/evaluation/reference_masks.rejected.tsv",
    log:
        f"{RUN}/logs/measure_reference_masks.log",
    benchmark:
        f"{RUN}/benchmarks/measure_reference_masks.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="4h",
    params:
        config=block(
            regions=config["regions"],
            spacing_mm=config["preprocessing"]["spacing_mm"],
            on_bad_case=config["on_bad_case"],
        ),
        root=REFERENCE_ROOT,
        code=code("measure_reference_masks"),
    shell:
        "python -m workflow_scripts.measure_reference_masks --config {params.config:q} --train {input.train:q}"
        " --root {params.root:q} --out {output.tumours:q} --rejected {output.rejected:q} 2>&1 | tee {log:q}"


rule evaluate_control:
    input:
        attached_depth_decoder,
        train=TRAIN,
        weights=rules.train_generator.output.weights,
        contract=rules.train_generator.output.contract,
        held_out=rules.measure_held_out.output.tumours,
    output:
        control=f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/control.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/evaluate_control/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/evaluate_control/{{system}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 8
    resources:
        mem_mb=memory(8000),
        runtime="4h",
        gpu=1,
    params:
        config=control_block,
        model=subpath(input.contract, parent=True),
        code=code("evaluate_control"),
    shell:
        "python -m workflow_scripts.evaluate_control --config {params.config:q} --train {input.train:q}"
        " --model {params.model:q} --held-out {input.held_out:q} --out {output.control:q} --threads {threads}"
        " 2>&1 | tee {log:q}"


rule evaluate_masks:
    input:
        train=TRAIN,
        held_out=rules.measure_held_out.output.tumours,
        conditions=rules.measure_tumours.output.conditions,
        tables=synthetic_blocks,
        control=rules.evaluate_control.output.control,
        reference=rules.measure_reference_masks.output.tumours if REFERENCE_ROOT else [],
    output:
        masks=f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/masks.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/evaluate_masks/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/evaluate_masks/{{system}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="1h",
    params:
        config=block(permutations=config["evaluation"]["masks"]["permutations"]),
        reference="--reference" if REFERENCE_ROOT else "",
        code=code("evaluate_masks"),
    shell:
        "python -m workflow_scripts.evaluate_masks --config {params.config:q} --train {input.train:q}"
        " --held-out {input.held_out:q} --conditions {input.conditions:q} --tables {input.tables:q}"
        " --control {input.control:q} {params.reference} {input.reference:q} --system {wildcards.system:q}"
        " --out {output.masks:q} 2>&1 | tee {log:q}"


rule compare_decoders:
    input:
        attached_depth_decoder,
        train=TRAIN,
        val=VAL,
        test=TEST,
        real=rules.extract_real_features.output.cases,
        weights=rules.train_generator.output.weights,
        contract=rules.train_generator.output.contract,
    output:
        table=f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/decoders.tsv",
        fid=f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}/decoder_fid.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/compare_decoders/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/compare_decoders/{{system}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 8
    resources:
        mem_mb=memory(8000),
        runtime="4h",
        gpu=1,
    params:
        config=decoders_block,
        model=subpath(input.contract, parent=True),
        features=f"{STATE}/image_features",
        code=code("compare_decoders"),
    shell:
        "python -m workflow_scripts.compare_decoders --config {params.config:q} --train {input.train:q}"
        " --val {input.val:q} --test {input.test:q} --model {params.model:q} --real {input.real:q}"
        " --features {params.features:q} --out {output.table:q} --fid {output.fid:q} --threads {threads}"
        " 2>&1 | tee {log:q}"
