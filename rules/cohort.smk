# From raw NIfTI to checked, preprocessed volumes, and to the subsets that all later stages are handed.


rule demo_cohort:
    output:
        manifest=f"{RUN}/demo_cohort/manifest.tsv",
    log:
        f"{RUN}/logs/demo_cohort.log",
    benchmark:
        f"{RUN}/benchmarks/demo_cohort.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime="2h",
    params:
        config=block(**config["demo_cohort"]),
        out=subpath(output.manifest, parent=True),
        code=code("demo_cohort"),
    shell:
        "python -m workflow_scripts.demo_cohort --config {params.config:q} --out {params.out:q}"
        " --manifest {output.manifest:q} --threads {threads} 2>&1 | tee {log:q}"


rule find_cases:
    input:
        simulated=rules.demo_cohort.output.manifest if SIMULATED else [],
    output:
        found=f"{RUN}/cohort/found.tsv",
        rejected=f"{RUN}/cohort/found.rejected.tsv",
    log:
        f"{RUN}/logs/find_cases.log",
    benchmark:
        f"{RUN}/benchmarks/find_cases.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="30m",
    params:
        config=block(modalities=config["modalities"], layout=config["layout"], on_bad_case=config["on_bad_case"]),
        data_root=data_root,
        code=code("find_cases"),
    shell:
        "python -m workflow_scripts.find_cases --config {params.config:q} --data-root {params.data_root:q}"
        " --out {output.found:q} --rejected {output.rejected:q} 2>&1 | tee {log:q}"


rule preprocess:
    input:
        found=rules.find_cases.output.found,
    output:
        cases=f"{RUN}/cohort/shards/{{shard}}.tsv",
        rejected=f"{RUN}/cohort/shards/{{shard}}.rejected.tsv",
    log:
        f"{RUN}/logs/preprocess/{{shard}}.log",
    benchmark:
        f"{RUN}/benchmarks/preprocess/{{shard}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="4h",
    params:
        config=block(
            modalities=config["modalities"],
            regions=config["regions"],
            on_bad_case=config["on_bad_case"],
            **{key: value for key, value in config["preprocessing"].items() if key != "shards"},
        ),
        shards=len(SHARDS),
        volumes=f"{RUN}/cohort/volumes",
        code=code("preprocess"),
    shell:
        "python -m workflow_scripts.preprocess --config {params.config:q} --found {input.found:q}"
        " --shard {wildcards.shard} --shards {params.shards} --volumes {params.volumes:q}"
        " --out {output.cases:q} --rejected {output.rejected:q} --threads {threads} 2>&1 | tee {log:q}"


rule merge_cohort:
    input:
        shards=expand(rules.preprocess.output.cases, shard=SHARDS),
        rejected=[rules.find_cases.output.rejected, *expand(rules.preprocess.output.rejected, shard=SHARDS)],
    output:
        cases=f"{RUN}/cohort/cases.tsv",
        rejected=f"{RUN}/cohort/rejected.tsv",
    log:
        f"{RUN}/logs/merge_cohort.log",
    benchmark:
        f"{RUN}/benchmarks/merge_cohort.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="30m",
    params:
        config=block(on_bad_case=config["on_bad_case"]),
        code=code("merge_cohort"),
    shell:
        "python -m workflow_scripts.merge_cohort --config {params.config:q} --shards {input.shards:q}"
        " --rejected-shards {input.rejected:q} --cases {output.cases:q} --rejected {output.rejected:q}"
        " 2>&1 | tee {log:q}"


rule split_cohort:
    input:
        cases=rules.merge_cohort.output.cases,
    output:
        splits=f"{RUN}/cohort/splits.json",
        val=VAL,
        test=TEST,
        train=TRAIN_SUBSETS,
    log:
        f"{RUN}/logs/split_cohort.log",
    benchmark:
        f"{RUN}/benchmarks/split_cohort.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="30m",
    params:
        config=block(**config["splits"]),
        volumes=f"{RUN}/cohort/volumes",
        code=code("split_cohort"),
    shell:
        "python -m workflow_scripts.split_cohort --config {params.config:q} --cases {input.cases:q}"
        " --volumes {params.volumes:q} --out {output.splits:q} --val {output.val:q} --test {output.test:q}"
        " --train {output.train:q} --threads {threads} 2>&1 | tee {log:q}"
