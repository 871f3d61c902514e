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


# Cases that somebody else's generator made, of a system with `cases`: read once for all train subsets, then put through the
# gates of each. That they are too few is to be said before anything trains.
use rule stage as read_external with:
    input:
        cohort=rules.merge_cohort.output.cases,
    output:
        out=f"{RUN}/external/{{system}}/cases.tsv",
        rejected=f"{RUN}/external/{{system}}/rejected.tsv",
    log:
        f"{RUN}/logs/read_external/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/read_external/{{system}}.tsv"
    priority: 100
    resources:
        **needs(3000, "12h"),
    params:
        **run(
            "synthesis.read_external",
            blocks.read_external,
            cases=lambda config, wildcards: config["system"][wildcards.system]["cases"],
            system="{system}",
        ),
        # as of find_cases: a case that was added, mended or replaced makes the system's cases again
        listing=lambda wildcards: (
            listing(config["system"][wildcards.system]["cases"]) if workflow.is_main_process else ""
        ),


use rule stage as judge_external with:
    input:
        train=TRAIN,
        conditions=rules.measure_tumours.output.out,
        read=rules.read_external.output.out,
        unread=rules.read_external.output.rejected,
        refuse_copies=FILES.copies,
    output:
        out=f"{N}/synthetic/{{system}}/cases.tsv",
        rejected=f"{N}/synthetic/{{system}}/rejected.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/judge_external/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/judge_external/{{system}}.tsv"
    wildcard_constraints:
        system="|".join(FILES.external) or "(?!)",
    priority: 100
    resources:
        **needs(3000, "12h"),
    params:
        **run(
            "synthesis.judge_external",
            blocks.judge_external,
            unasked={"needed": lambda config, wildcards: FILES.most_synthetic(wildcards.n_real)},
            system="{system}",
            false_positive_rate=blocks.copy_rate,
        ),


ruleorder: judge_external > gather_synthetic
