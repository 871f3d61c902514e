# What the synthetic cases are worth: to the segmenter, and to the eye of a feature network.
OF_SYSTEM = f"{RUN}/evaluation/n_real~{{n_real}}/{{system}}"


use rule stage as score_segmentation with:
    input:
        test=TEST,
        arm=of_seeds(rules.train_segmentation.output.out),
        progress=of_seeds(f"{ARM}/progress.csv"),
        predictions=rules.predict_segmentation.output.out,
    output:
        out=of_seeds(f"{ARM}/dice.tsv"),
    log:
        f"{RUN}/logs/n_real~{{n_real}}/score_segmentation/{{segmenter}}/{{arm}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/score_segmentation/{{segmenter}}/{{arm}}.tsv"
    resources:
        **needs(4000, "12h"),
    params:
        **run("evaluation.score_segmentation", blocks.scores),


use rule gpu_stage as extract_real_features with:
    input:
        val=VAL,
        test=TEST,
        train=TRAIN_SUBSETS,
    output:
        out=f"{RUN}/evaluation/image_features.tsv",
        pairs=f"{RUN}/evaluation/image_pairs.tsv",
    log:
        f"{RUN}/logs/extract_real_features.log",
    benchmark:
        f"{RUN}/benchmarks/extract_real_features.tsv"
    resources:
        **needs(4000, "12h", gpu=1),
    params:
        **run("evaluation.extract_image_features", blocks.image_features, features=IMAGE_FEATURES),


use rule gpu_stage as extract_synthetic_features with:
    input:
        val=VAL,
        tables=FILES.first_synthetic,
    output:
        out=f"{OF_SYSTEM}/image_features.tsv",
        pairs=f"{OF_SYSTEM}/image_pairs.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/extract_synthetic_features/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/extract_synthetic_features/{{system}}.tsv"
    resources:
        **needs(4000, "12h", gpu=1),
    params:
        **run(
            "evaluation.extract_image_features",
            blocks.image_features,
            synthetic=f"{N}/synthetic/{{system}}",
            system="{system}",
            first=lambda config, wildcards: wildcards.n_real if wildcards.system in FILES.external else None,
            features=IMAGE_FEATURES,
        ),


use rule stage as evaluate_images with:
    input:
        train=TRAIN,
        val=VAL,
        test=TEST,
        real=rules.extract_real_features.output.out,
        real_pairs=rules.extract_real_features.output.pairs,
        synthetic=rules.extract_synthetic_features.output.out,
        synthetic_pairs=rules.extract_synthetic_features.output.pairs,
    output:
        out=f"{OF_SYSTEM}/images.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/evaluate_images/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/evaluate_images/{{system}}.tsv"
    threads: 8
    resources:
        **needs(6000, "4h"),
    params:
        **run("evaluation.evaluate_images", blocks.images, features=IMAGE_FEATURES, system="{system}"),


use rule gpu_stage as measure_cost with:
    input:
        train=TRAIN,
        model=FILES.model,
    output:
        out=f"{OF_SYSTEM}/cost.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/measure_cost/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/measure_cost/{{system}}.tsv"
    params:
        **run("evaluation.measure_cost", blocks.cost, [blocks.generator_module]),


use rule stage as measure_held_out with:
    input:
        val=VAL,
        test=TEST,
    output:
        out=f"{RUN}/evaluation/held_out_tumours.tsv",
    log:
        f"{RUN}/logs/measure_held_out.log",
    benchmark:
        f"{RUN}/benchmarks/measure_held_out.tsv"
    params:
        **run("evaluation.measure_held_out", blocks.picked(config, ("regions",))),


use rule stage as measure_reference_masks with:
    input:
        train=TRAIN_SUBSETS,
    output:
        out=f"{RUN}/evaluation/reference_masks.tsv",
        rejected=f"{RUN}/evaluation/reference_masks.rejected.tsv",
    log:
        f"{RUN}/logs/measure_reference_masks.log",
    benchmark:
        f"{RUN}/benchmarks/measure_reference_masks.tsv"
    resources:
        **needs(2000, "4h"),
    params:
        **run(
            "evaluation.measure_reference_masks", blocks.reference_masks, root=lambda config, wildcards: REFERENCE_ROOT
        ),


use rule gpu_stage as evaluate_control with:
    input:
        train=TRAIN,
        model=FILES.model,
        held_out=rules.measure_held_out.output.out,
    output:
        out=f"{OF_SYSTEM}/control.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/evaluate_control/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/evaluate_control/{{system}}.tsv"
    params:
        **run("evaluation.evaluate_control", blocks.control, [blocks.generator_module]),


use rule stage as evaluate_masks with:
    input:
        train=TRAIN,
        held_out=rules.measure_held_out.output.out,
        conditions=rules.measure_tumours.output.out,
        tables=FILES.first_synthetic,
        control=FILES.ungated,
        reference=rules.measure_reference_masks.output.out if REFERENCE_ROOT else [],
    output:
        out=f"{OF_SYSTEM}/masks.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/evaluate_masks/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/evaluate_masks/{{system}}.tsv"
    params:
        **run(
            "evaluation.evaluate_masks",
            blocks.picked(config["evaluation"]["masks"], ("permutations",)),
            system="{system}",
        ),


use rule gpu_stage as sample_control_sweep with:
    input:
        train=TRAIN,
        model=FILES.model,
    output:
        table=f"{OF_SYSTEM}/control_sweep.tsv",
        slices=f"{OF_SYSTEM}/control_sweep.safetensors",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/sample_control_sweep/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/sample_control_sweep/{{system}}.tsv"
    params:
        **run("evaluation.sample_control_sweep", blocks.sweep, [blocks.generator_module]),
