# The autoencoder of a system, the latents of the training cases, and the decoder along depth. Systems that name the same
# autoencoder share all of them.


rule train_autoencoder:
    input:
        train=TRAIN,
        val=VAL,
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
        mem_mb=memory(16000),
        runtime="24h",
        gpu=autoencoder_devices,
        launcher="",  # srun and its options, from a profile: a task a device, over several nodes
    params:
        config=autoencoder_block,
        out=subpath(output.contract, parent=True),
        state=STATE,
        code=code("train_autoencoder"),
    shell:
        "{resources.launcher} python -m workflow_scripts.train_autoencoder --config {params.config:q}"
        " --train {input.train:q} --val {input.val:q} --out {params.out:q} --state {params.state:q}"
        " --threads {threads} 2>&1 | tee {log:q}"


rule extract_latents:
    input:
        train=TRAIN,
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
        mem_mb=memory(8000),
        runtime="2h",
        gpu=1,
    params:
        config=latents_block,
        autoencoder=subpath(input.contract, parent=True),
        out=subpath(output.scale, parent=True),
        code=code("extract_latents"),
    shell:
        "python -m workflow_scripts.extract_latents --config {params.config:q} --train {input.train:q}"
        " --autoencoder {params.autoencoder:q} --out {params.out:q} --threads {threads} 2>&1 | tee {log:q}"


rule train_depth_decoder:
    input:
        train=TRAIN,
        val=VAL,
        weights=rules.train_autoencoder.output.weights,
        contract=rules.train_autoencoder.output.contract,
        latents=rules.extract_latents.output.latents,
        scale=rules.extract_latents.output.scale,
    output:
        weights=f"{N}/autoencoder/{{name}}/depth_decoder/model.safetensors",
        contract=f"{N}/autoencoder/{{name}}/depth_decoder/model.json",
        loss=f"{N}/autoencoder/{{name}}/depth_decoder/loss.csv",
        reconstruction=f"{N}/autoencoder/{{name}}/depth_decoder/reconstruction.tsv",
        cost=f"{N}/autoencoder/{{name}}/depth_decoder/cost.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/train_depth_decoder/{{name}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/train_depth_decoder/{{name}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 8
    resources:
        mem_mb=memory(16000),
        runtime="24h",
        gpu=depth_decoder_devices,
        launcher="",
    params:
        config=depth_decoder_block,
        autoencoder=subpath(input.contract, parent=True),
        latents=subpath(input.scale, parent=True),
        out=subpath(output.contract, parent=True),
        state=STATE,
        code=code("train_depth_decoder"),
    shell:
        "{resources.launcher} python -m workflow_scripts.train_depth_decoder --config {params.config:q}"
        " --train {input.train:q} --val {input.val:q} --autoencoder {params.autoencoder:q}"
        " --latents {params.latents:q} --out {params.out:q} --state {params.state:q} --threads {threads}"
        " 2>&1 | tee {log:q}"
