# Synthetic cases, in blocks of numbered cases: a larger ratio adds blocks and makes none again.


use rule gpu_stage as synthesize with:
    input:
        model=FILES.model,
        train=FILES.hosts,
        refuse_copies=FILES.copies,
    output:
        table=f"{N}/synthetic/{{system}}/blocks/{{block}}.tsv",
        rejected=f"{N}/synthetic/{{system}}/blocks/{{block}}.rejected.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/synthesize/{{system}}/{{block}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/synthesize/{{system}}/{{block}}.tsv"
    params:
        **run(
            "synthesis.synthesize",
            blocks.synthesis,
            [blocks.generator_module],
            block="{block}",
            block_size=config["synthesis"]["block_size"],
            out=f"{N}/synthetic/{{system}}",
            false_positive_rate=blocks.copy_rate,
        ),


use rule stage as gather_synthetic with:
    input:
        tables=FILES.all_synthetic,
        rejected_tables=FILES.all_rejected,
        model=FILES.model,
        refuse_copies=FILES.copies,
    output:
        release=f"{N}/generator/{{system}}/release.json",
        cases=f"{N}/synthetic/{{system}}/cases.tsv",
        rejected=f"{N}/synthetic/{{system}}/rejected.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/gather_synthetic/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/gather_synthetic/{{system}}.tsv"
    params:
        **run("synthesis.gather_synthetic", blocks.synthesis, false_positive_rate=blocks.copy_rate),
