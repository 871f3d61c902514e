# The generator of a system: a denoiser over the latents, in one self-contained model folder with its autoencoder.


rule train_generator:
    input:
        latents=of_autoencoder("latents", "latents.safetensors"),
        scale=of_autoencoder("latents", "latents.json"),
        features=of_autoencoder("latents", "features.tsv"),
        autoencoder_weights=of_autoencoder("autoencoder", "model.safetensors"),
        autoencoder=of_autoencoder("autoencoder", "model.json"),
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
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime="24h",
        gpu=1,
    params:
        config=generator_block,
        latents=subpath(input.scale, parent=True),
        autoencoder=subpath(input.autoencoder, parent=True),
        out=subpath(output.contract, parent=True),
        state=STATE,
        code=code("train_generator"),
    shell:
        "python -m workflow_scripts.train_generator --config {params.config:q} --latents {params.latents:q}"
        " --autoencoder {params.autoencoder:q} --out {params.out:q}"
        " --state {params.state:q} --threads {threads} 2>&1 | tee {log:q}"
