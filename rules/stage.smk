# What the stages have in common: each adds its files, its program and its settings. The launcher, from a profile, is srun
# and its options, for a task a device, over several nodes.
rule stage:
    log:
        f"{RUN}/logs/stage.log",
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        **needs(2000, "1h"),
    params:
        program="",
        options="",
    shell:
        "{resources.launcher} python -m workflow_scripts.programs.{params.program} {params.options} --threads {threads} --record {log:q}"
        " 2>&1 | tee {log:q}"


use rule stage as gpu_stage with:
    threads: 8
    resources:
        **needs(8000, "4h", gpu=1),
