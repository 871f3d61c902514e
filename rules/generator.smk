# The generator of a system: a denoiser or a GAN over latents or volumes, in one self-contained model folder with the
# autoencoder, if the system has one.


rule measure_tumours:
    input:
        train=TRAIN,
    output:
        conditions=f"{N}/conditions.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/measure_tumours.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/measure_tumours.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="1h",
    params:
        config=block(regions=config["regions"]),
        code=code("measure_tumours"),
    shell:
        "python -m workflow_scripts.measure_tumours --config {params.config:q} --train {input.train:q}"
        " --out {output.conditions:q} 2>&1 | tee {log:q}"


rule train_generator:
    input:
        space_files,
        train=train_of_voxel_system,
        conditions=rules.measure_tumours.output.conditions,
    output:
        weights=f"{N}/generator/{{system}}/model.safetensors",
        contract=f"{N}/generator/{{system}}/model.json",
        loss=f"{N}/generator/{{system}}/loss.csv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/train_generator/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/train_generator/{{system}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 8
    resources:
        mem_mb=memory(16000),
        runtime="24h",
        gpu=generator_devices,
        launcher="",  # srun and its options, from a profile: a task a device, over several nodes
    params:
        config=generator_block,
        space=space_options,
        out=subpath(output.contract, parent=True),
        state=STATE,
        code=code("train_generator"),
    shell:
        "{resources.launcher} python -m workflow_scripts.train_generator --config {params.config:q} --conditions {input.conditions:q}"
        " {params.space} --out {params.out:q} --state {params.state:q} --threads {threads} 2>&1 | tee {log:q}"


rule attach_depth_decoder:
    input:
        unpack(depth_decoder_of),
        generator_weights=rules.train_generator.output.weights,
        generator=rules.train_generator.output.contract,
    output:
        weights=f"{N}/generator/{{system}}/depth_decoder/model.safetensors",
        contract=f"{N}/generator/{{system}}/depth_decoder/model.json",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/attach_depth_decoder/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/attach_depth_decoder/{{system}}.tsv"
    conda:
        "../envs/sliceaug.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime="30m",
    params:
        depth_decoder=subpath(input.contract, parent=True),
        model=subpath(input.generator, parent=True),
        code=code("attach_depth_decoder"),
    shell:
        "python -m workflow_scripts.attach_depth_decoder --depth-decoder {params.depth_decoder:q}"
        " --model {params.model:q} 2>&1 | tee {log:q}"
