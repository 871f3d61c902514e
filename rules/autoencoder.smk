# The autoencoder of a system, and the latents of the training cases. Systems that name the same autoencoder share both.


rule train_autoencoder:
    input:
        **COHORT,
    output:
        weights=f"{N}/autoencoder/{{name}}/model.safetensors",
        contract=f"{N}/autoencoder/{{name}}/model.json",
        loss=f"{N}/autoencoder/{{name}}/loss.csv",
        reconstruction=f"{N}/autoencoder/{{name}}/reconstruction.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/train_autoencoder/{{name}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/train_autoencoder/{{name}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 8
    resources:
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime="24h",
        gpu=autoencoder_devices,
        launcher="",  # srun and its options, from a profile: a task a device, over several nodes
    params:
        config=autoencoder_block,
        out=subpath(output.contract, parent=True),
        volumes=VOLUMES,
        state=STATE,
        code=code("train_autoencoder"),
    shell:
        "{resources.launcher} python -m workflow_scripts.train_autoencoder --config {params.config:q} --cases {input.cases:q}"
        " --splits {input.splits:q} --volumes {params.volumes:q} --n-real {wildcards.n_real}"
        " --out {params.out:q} --state {params.state:q} --threads {threads} 2>&1 | tee {log:q}"


rule extract_latents:
    input:
        **COHORT,
        weights=rules.train_autoencoder.output.weights,
        contract=rules.train_autoencoder.output.contract,
    output:
        latents=f"{N}/latents/{{name}}/latents.safetensors",
        scale=f"{N}/latents/{{name}}/latents.json",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/extract_latents/{{name}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/extract_latents/{{name}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 8
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime="2h",
        gpu=1,
    params:
        config=latents_block,
        autoencoder=subpath(input.contract, parent=True),
        out=subpath(output.scale, parent=True),
        volumes=VOLUMES,
        code=code("extract_latents"),
    shell:
        "python -m workflow_scripts.extract_latents --config {params.config:q}"
        " --autoencoder {params.autoencoder:q} --cases {input.cases:q} --splits {input.splits:q}"
        " --volumes {params.volumes:q} --n-real {wildcards.n_real} --out {params.out:q}"
        " --threads {threads} 2>&1 | tee {log:q}"
