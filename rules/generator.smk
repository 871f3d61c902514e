# The generator of a system: a denoiser or a GAN over latents or volumes, in one self-contained model folder with the
# autoencoder, if the system has one. A system that draws with the model of another has a copy of that.


use rule stage as measure_tumours with:
    input:
        train=TRAIN,
    output:
        out=f"{N}/conditions.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/measure_tumours.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/measure_tumours.tsv"
    params:
        **run("generator.measure_tumours", blocks.picked(config, ("regions",))),


use rule gpu_stage as train_generator with:
    input:
        conditions=rules.measure_tumours.output.out,
        latents=FILES.training_latents,
        autoencoder=FILES.training_autoencoder,
        train=FILES.volumes,
        val=FILES.judged_by,
        model=FILES.lent_model,
        after=FILES.generator_start,
    output:
        f"{N}/generator/{{system}}/loss.csv",
        out=multiext(f"{N}/generator/{{system}}/model", ".safetensors", ".json"),
    log:
        f"{RUN}/logs/n_real~{{n_real}}/train_generator/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/train_generator/{{system}}.tsv"
    resources:
        **needs(16000, "24h", gpu=devices_of("generator")),
    params:
        **run("generator.train_generator", blocks.generator, [blocks.generator_module], state=STATE),
