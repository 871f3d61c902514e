# Are synthetic cases copies of training cases? The training set to compare with, real cases as the yardstick, the audit.
# {compared}: whole cases, or the tumours alone where a system's cases are made in training patients on purpose.


use rule stage as memorisation_reference with:
    input:
        train=TRAIN,
    output:
        out=multiext(f"{N}/memorisation/{{compared}}/reference", ".safetensors", ".json"),
    log:
        f"{RUN}/logs/n_real~{{n_real}}/memorisation_reference/{{compared}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/memorisation_reference/{{compared}}.tsv"
    threads: 4
    resources:
        **needs(4000, "1h"),
    params:
        **run(
            "memorisation.memorisation_reference",
            blocks.picked(config["memorisation"], ("resolution_mm", "max_shift_mm")),
            compared="{compared}",
        ),


use rule gpu_stage as calibrate_memorisation with:
    input:
        train=TRAIN,
        val=VAL,
        test=TEST,
        reference=rules.memorisation_reference.output.out,
    output:
        out=f"{RUN}/evaluation/n_real~{{n_real}}/memorisation/{{compared}}/real.tsv",
        features=f"{RUN}/evaluation/n_real~{{n_real}}/memorisation/{{compared}}/train_features.safetensors",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/calibrate_memorisation/{{compared}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/calibrate_memorisation/{{compared}}.tsv"
    resources:
        **needs(4000, "4h", gpu=1),
    params:
        **run("memorisation.calibrate_memorisation", blocks.audit_images),


use rule gpu_stage as audit_memorisation with:
    input:
        train=TRAIN,
        reference=FILES.reference,
        real=FILES.real_cases("real.tsv"),
        features=FILES.real_cases("train_features.safetensors"),
        table=f"{N}/synthetic/{{system}}/cases.tsv",
        rejected=f"{N}/synthetic/{{system}}/rejected.tsv",
        latents=FILES.latents,
        model=FILES.model_over_latents,
    output:
        out=f"{OF_SYSTEM}/memorisation.tsv",
        summary=f"{OF_SYSTEM}/memorisation_summary.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/audit_memorisation/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/audit_memorisation/{{system}}.tsv"
    resources:
        **needs(4000, "4h", gpu=1),
    params:
        **run(
            "memorisation.audit_memorisation",
            blocks.audit,
            [blocks.generator_module],
            synthetic=f"{N}/synthetic/{{system}}",
            system="{system}",
        ),
