# The autoencoder of a system, and the latents of the training cases. Systems that name the same autoencoder share both.


use rule gpu_stage as train_autoencoder with:
    input:
        train=TRAIN,
        after=FILES.autoencoder_start,
    output:
        f"{N}/autoencoder/{{name}}/loss.csv",
        out=multiext(f"{N}/autoencoder/{{name}}/model", ".safetensors", ".json"),
    log:
        f"{RUN}/logs/n_real~{{n_real}}/train_autoencoder/{{name}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/train_autoencoder/{{name}}.tsv"
    resources:
        **needs(16000, "24h", gpu=devices_of("autoencoder")),
    params:
        **run("autoencoder.train_autoencoder", blocks.autoencoder, state=STATE),


use rule gpu_stage as extract_latents with:
    input:
        train=TRAIN,
        autoencoder=rules.train_autoencoder.output.out,
    output:
        out=multiext(f"{N}/latents/{{name}}/latents", ".safetensors", ".json"),
    log:
        f"{RUN}/logs/n_real~{{n_real}}/extract_latents/{{name}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/extract_latents/{{name}}.tsv"
    params:
        **run("autoencoder.extract_latents", blocks.latents),


# A rung of the ladder: the other patients as this autoencoder gives them back, in the form of synthetic cases.
use rule gpu_stage as reconstruct_others with:
    input:
        train=TRAIN,
        others=OTHERS,
        autoencoder=rules.train_autoencoder.output.out,
    output:
        table=f"{N}/reconstructions/{{name}}/cases.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/reconstruct_others/{{name}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/reconstruct_others/{{name}}.tsv"
    params:
        **run("autoencoder.reconstruct_others", blocks.latents),


use rule gpu_stage as measure_reconstruction with:
    input:
        train=TRAIN,
        val=VAL,
        autoencoder=rules.train_autoencoder.output.out,
    output:
        out=f"{N}/autoencoder/{{name}}/reconstruction.tsv",
        picture=f"{N}/autoencoder/{{name}}/reconstruction.png",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/measure_reconstruction/{{name}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/measure_reconstruction/{{name}}.tsv"
    params:
        **run("autoencoder.measure_reconstruction"),
