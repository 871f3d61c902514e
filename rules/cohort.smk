# From raw NIfTI to checked, preprocessed volumes, and to the subsets that all later stages are handed.


use rule stage as demo_cohort with:
    output:
        manifest=f"{RUN}/demo_cohort/manifest.tsv",
    log:
        f"{RUN}/logs/demo_cohort.log",
    benchmark:
        f"{RUN}/benchmarks/demo_cohort.tsv"
    threads: 4
    resources:
        **needs(4000, "2h"),
    params:
        **run("cohort.demo_cohort", config["demo_cohort"], out=f"{RUN}/demo_cohort"),


use rule stage as find_cases with:
    input:
        after=f"{RUN}/demo_cohort/manifest.tsv" if SIMULATED else [],
        patients=config["patients"] or [],
    output:
        out=f"{RUN}/cohort/found.tsv",
        rejected=f"{RUN}/cohort/found.rejected.tsv",
    log:
        f"{RUN}/logs/find_cases.log",
    benchmark:
        f"{RUN}/benchmarks/find_cases.tsv"
    params:
        **run(
            "cohort.find_cases",
            blocks.find_cases,
            data_root=lambda config, wildcards: f"{RUN}/demo_cohort" if SIMULATED else config["data_root"],
            movable=SIMULATED,
        ),
        # a case that was added, mended or replaced makes the cohort again; jobs, which parse this too, do not look
        listing=lambda wildcards: "" if SIMULATED or not workflow.is_main_process else listing(config["data_root"]),


use rule stage as preprocess with:
    input:
        found=rules.find_cases.output.out,
    output:
        out=f"{RUN}/cohort/shards/{{shard}}.tsv",
        rejected=f"{RUN}/cohort/shards/{{shard}}.rejected.tsv",
    log:
        f"{RUN}/logs/preprocess/{{shard}}.log",
    benchmark:
        f"{RUN}/benchmarks/preprocess/{{shard}}.tsv"
    resources:
        **needs(2000, "4h"),
    params:
        **run(
            "cohort.preprocess",
            blocks.preprocess,
            shard="{shard}",
            shards=len(SHARDS),
            volumes=f"{RUN}/cohort/volumes",
        ),


use rule stage as merge_cohort with:
    input:
        shards=expand(rules.preprocess.output.out, shard=SHARDS),
        rejected_shards=[rules.find_cases.output.rejected, *expand(rules.preprocess.output.rejected, shard=SHARDS)],
    output:
        cases=f"{RUN}/cohort/cases.tsv",
        rejected=f"{RUN}/cohort/rejected.tsv",
        remarks=f"{RUN}/cohort/remarks.tsv",
    log:
        f"{RUN}/logs/merge_cohort.log",
    benchmark:
        f"{RUN}/benchmarks/merge_cohort.tsv"
    params:
        **run("cohort.merge_cohort", blocks.merge_cohort),


use rule stage as split_cohort with:
    input:
        cases=rules.merge_cohort.output.cases,
        file=config["splits"]["file"] or [],
        starts=FILES.starts(),
    output:
        out=f"{RUN}/cohort/splits.json",
        val=VAL,
        test=TEST,
        train=expand(TRAIN, n_real=FILES.train_sizes),
        others=expand(OTHERS, n_real=FILES.others),
    log:
        f"{RUN}/logs/split_cohort.log",
    benchmark:
        f"{RUN}/benchmarks/split_cohort.tsv"
    params:
        **run("cohort.split_cohort", blocks.splits, volumes=f"{RUN}/cohort/volumes"),
