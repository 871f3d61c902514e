# Synthetic cases, in blocks of numbered cases: a larger ratio adds blocks and makes none again.


rule synthesize:
    input:
        attached_depth_decoder,
        weights=rules.train_generator.output.weights,
        contract=rules.train_generator.output.contract,
        copies=copy_gate_files,
    output:
        table=f"{N}/synthetic/{{system}}/blocks/{{block}}.tsv",
        rejected=f"{N}/synthetic/{{system}}/blocks/{{block}}.rejected.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/synthesize/{{system}}/{{block}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/synthesize/{{system}}/{{block}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 8
    resources:
        mem_mb=memory(8000),
        runtime="4h",
        gpu=1,
    params:
        config=synthesis_block,
        model=subpath(input.contract, parent=True),
        block_size=config["synthesis"]["block_size"],
        out=subpath(output.table, ancestor=2),
        copies=copy_gate_options,
        code=code("synthesize"),
    shell:
        "python -m workflow_scripts.synthesize --config {params.config:q} --model {params.model:q}"
        " --block {wildcards.block} --block-size {params.block_size} --out {params.out:q}"
        " --table {output.table:q} --rejected {output.rejected:q} {params.copies}"
        " --threads {threads} 2>&1 | tee {log:q}"


rule gather_synthetic:
    input:
        tables=all_synthetic_blocks,
        rejected=rejected_of_blocks,
    output:
        cases=f"{N}/synthetic/{{system}}/cases.tsv",
        rejected=f"{N}/synthetic/{{system}}/rejected.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/gather_synthetic/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/gather_synthetic/{{system}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="30m",
    params:
        code=code("gather_synthetic"),
    shell:
        "python -m workflow_scripts.gather_synthetic --tables {input.tables:q} --rejected-tables {input.rejected:q}"
        " --cases {output.cases:q} --rejected {output.rejected:q} 2>&1 | tee {log:q}"
