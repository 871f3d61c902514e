# Each segmenter: one plan from the real training cases, one pool of preprocessed cases, arms that are lists of cases.


use rule stage as plan_segmentation with:
    input:
        train=TRAIN,
    output:
        out=f"{SEGMENTER}/plan.json",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/plan_segmentation/{{segmenter}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/plan_segmentation/{{segmenter}}.tsv"
    threads: 4
    resources:
        **needs(8000, "2h"),
    params:
        **run("segmentation.plan_segmentation", blocks.segmentation_plan, [module_for("plan")], segmenter="{segmenter}"),


use rule stage as pool_real with:
    input:
        train=TRAIN,
        val=VAL,
        plan=rules.plan_segmentation.output.out,
    output:
        out=f"{SEGMENTER}/pool_real.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/pool_real/{{segmenter}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/pool_real/{{segmenter}}.tsv"
    resources:
        **needs(8000, "4h"),
    params:
        **run("segmentation.pool_real", modules=[module_for("pool")], pool=f"{SEGMENTER}/pool"),


use rule stage as pool_synthetic with:
    input:
        plan=rules.plan_segmentation.output.out,
        table=FILES.block,
    output:
        out=f"{SEGMENTER}/pool_{{system}}/{{block}}.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/pool_synthetic/{{segmenter}}/{{system}}/{{block}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/pool_synthetic/{{segmenter}}/{{system}}/{{block}}.tsv"
    resources:
        **needs(8000, "2h"),
    params:
        **run(
            "segmentation.pool_synthetic",
            modules=[module_for("pool")],
            synthetic=f"{N}/synthetic/{{system}}",
            pool=f"{SEGMENTER}/pool",
            system="{system}",
        ),


# The rungs of the ladder have pools of their own, so that no other arm could read a patient of them.
use rule stage as pool_others with:
    input:
        others=OTHERS,
        plan=rules.plan_segmentation.output.out,
    output:
        out=f"{SEGMENTER}/ladder/real/cases.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/pool_others/{{segmenter}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/pool_others/{{segmenter}}.tsv"
    resources:
        **needs(8000, "4h"),
    params:
        **run("segmentation.pool_real", modules=[module_for("pool")], pool=f"{SEGMENTER}/ladder/real"),


use rule stage as pool_reconstructions with:
    input:
        plan=rules.plan_segmentation.output.out,
        table=rules.reconstruct_others.output.table,
    output:
        out=f"{SEGMENTER}/ladder/reconstructions/{{name}}/cases.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/pool_reconstructions/{{segmenter}}/{{name}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/pool_reconstructions/{{segmenter}}/{{name}}.tsv"
    resources:
        **needs(8000, "2h"),
    params:
        **run(
            "segmentation.pool_synthetic",
            modules=[module_for("pool")],
            synthetic=f"{N}/reconstructions/{{name}}",
            pool=f"{SEGMENTER}/ladder/reconstructions/{{name}}",
            system="{name}",
        ),


use rule gpu_stage as train_segmentation with:
    input:
        plan=rules.plan_segmentation.output.out,
        real=rules.pool_real.output.out,
        synthetic=FILES.pool,
        others=FILES.others_pool,
    output:
        f"{ARM}/model.safetensors",
        f"{ARM}/progress.csv",
        out=f"{ARM}/arm.json",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/train_segmentation/{{segmenter}}/{{arm}}/seed~{{seed}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/train_segmentation/{{segmenter}}/{{arm}}/seed~{{seed}}.tsv"
    resources:
        **needs(16000, "48h", gpu=1),
    params:
        **run(
            "segmentation.train_segmentation",
            blocks.segmentation_training,
            [module_for("train")],
            pool=f"{SEGMENTER}/pool",
            state=STATE,
        ),


# All seeds of an arm by one job, as they are scored: a start of Python and a submission for each would cost more. A
# training writes its weights and then arm.json.
use rule gpu_stage as predict_segmentation with:
    input:
        test=TEST,
        plan=rules.plan_segmentation.output.out,
        arm=of_seeds(rules.train_segmentation.output.out),
    output:
        out=of_seeds(f"{ARM}/predictions.tsv"),
    log:
        f"{RUN}/logs/n_real~{{n_real}}/predict_segmentation/{{segmenter}}/{{arm}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/predict_segmentation/{{segmenter}}/{{arm}}.tsv"
    resources:
        **needs(12000, "24h", gpu=1),
    params:
        **run("segmentation.predict_segmentation", blocks.segmentation_prediction, [module_for("predict")]),
