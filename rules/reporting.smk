# The answer: tables, figures and the report.


use rule stage as gather_scores with:
    input:
        dice=FILES.of_arms("dice.tsv"),
    output:
        scores=f"{RUN}/evaluation/scores.tsv",
    log:
        f"{RUN}/logs/gather_scores.log",
    benchmark:
        f"{RUN}/benchmarks/gather_scores.tsv"
    params:
        **run("gather_scores"),


use rule stage as make_figures with:
    input:
        dice=rules.gather_scores.output.scores,
        table=f"{RUN}/tables/augmentation_ratio.csv",
    output:
        out=report(
            f"{RUN}/figures/dice_vs_ratio.png",
            caption="report/ratio_figure.rst",
            category="Figures",
            labels={"figure": "Dice against augmentation ratio", "system": "all", "real patients": "all"},
        ),
    log:
        f"{RUN}/logs/make_figures.log",
    benchmark:
        f"{RUN}/benchmarks/make_figures.tsv"
    params:
        **run("make_figures", config["evaluation"]["tables"], simulated=SIMULATED),


use rule stage as figure_cases with:
    input:
        train=TRAIN,
        tables=FILES.first_synthetic,
    output:
        out=report(
            f"{RUN}/figures/n_real~{{n_real}}/real_and_synthetic_{{system}}.png",
            caption="report/case_figure.rst",
            category="Figures",
            labels={
                "figure": "real and synthetic cases",
                "system": "{system}",
                "real patients": "{n_real}",
            },
        ),
    log:
        f"{RUN}/logs/n_real~{{n_real}}/figure_cases/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/figure_cases/{{system}}.tsv"
    resources:
        **needs(4000, "1h"),
    params:
        **run(
            "figure_cases",
            {**config["evaluation"]["figures"], **blocks.picked(config, ("regions", "modalities"))},
            synthetic=f"{N}/synthetic/{{system}}",
            system="{system}",
            simulated=SIMULATED,
        ),


use rule stage as pack_viewer with:
    input:
        train=TRAIN,
        tables=expand(f"{N}/synthetic/{{system}}/cases.tsv", system=SYSTEMS, allow_missing=True),
    output:
        out=f"{RUN}/figures/n_real~{{n_real}}/viewer.json",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/pack_viewer.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/pack_viewer.tsv"
    resources:
        **needs(4000, "1h"),
    params:
        **run("pack_viewer", blocks.viewer, simulated=SIMULATED),


use rule gpu_stage as figure_control_sweep with:
    input:
        train=TRAIN,
        model=FILES.model,
    output:
        out=report(
            f"{RUN}/figures/n_real~{{n_real}}/control_sweep_{{system}}.png",
            caption="report/control_sweep.rst",
            category="Figures",
            labels={
                "figure": "one tumour that grows and moves",
                "system": "{system}",
                "real patients": "{n_real}",
            },
        ),
        table=f"{OF_SYSTEM}/control_sweep.tsv",
    log:
        f"{RUN}/logs/n_real~{{n_real}}/figure_control_sweep/{{system}}.log",
    benchmark:
        f"{RUN}/benchmarks/n_real~{{n_real}}/figure_control_sweep/{{system}}.tsv"
    params:
        **run("figure_control_sweep", blocks.sweep, simulated=SIMULATED),


# What the report reads, but for the cohort and the cost table: all that the study makes leads here.
ANSWER = dict(
    augmentation_ratio=f"{RUN}/tables/augmentation_ratio.csv",
    systems=f"{RUN}/tables/systems.csv",
    compute=f"{RUN}/tables/compute.csv",
    ratio_figure=f"{RUN}/figures/dice_vs_ratio.png",
    case_figures=FILES.of_systems(f"{RUN}/figures/n_real~{{n_real}}/real_and_synthetic_{{system}}.png"),
    viewer=f"{RUN}/figures/n_real~{N_REAL[-1]}/viewer.json",
    depth_decoder=f"{RUN}/tables/depth_decoder.csv" if FILES.depth_decoded else [],
    control=f"{RUN}/tables/control.csv",
    masks=f"{RUN}/tables/masks.csv",
    memorisation=f"{RUN}/tables/memorisation.csv",
    pairs=FILES.of_systems(f"{RUN}/figures/n_real~{{n_real}}/memorisation_{{system}}.png"),
    sweeps=(
        FILES.of_systems(f"{RUN}/figures/n_real~{{n_real}}/control_sweep_{{system}}.png")
        if config["evaluation"]["control"]["sweep_steps"]
        else []
    ),
    images=f"{RUN}/tables/images.csv",
    synthetic=FILES.of_systems(f"{N}/synthetic/{{system}}/cases.tsv"),
    synthetic_rejected=FILES.of_systems(f"{N}/synthetic/{{system}}/rejected.tsv"),
    reconstruction=FILES.of_autoencoders("reconstruction.tsv"),
)

# What each table is made of. Benchmark files are side products: as inputs, a lost one would run its job again. So the last
# outputs of all branches are the inputs of the cost table, which is made when nothing is left to run but the report.
TABLE_FILES = {
    "augmentation_ratio": dict(scores=rules.gather_scores.output.scores),
    "compute": dict(costs=expand(f"{RUN}/evaluation/n_real~{N_REAL[-1]}/{{system}}/cost.tsv", system=SYSTEMS)),
    "systems": dict(
        ratios=f"{RUN}/tables/augmentation_ratio.csv",
        images=FILES.evaluations("images.tsv"),
        compute=f"{RUN}/tables/compute.csv",
    ),
    "images": dict(images=FILES.evaluations("images.tsv")),
    "control": dict(control=FILES.evaluations("control.tsv")),
    "masks": dict(masks=FILES.evaluations("masks.tsv")),
    "memorisation": dict(summaries=FILES.evaluations("memorisation_summary.tsv")),
    "depth_decoder": dict(
        quality=FILES.of_autoencoders("depth_decoder/reconstruction.tsv", depth_decoded=True),
        costs=FILES.of_autoencoders("depth_decoder/cost.tsv", depth_decoded=True),
        synthetic=FILES.evaluations("decoders.tsv", FILES.depth_decoded),
        fids=FILES.evaluations("decoder_fid.tsv", FILES.depth_decoded),
    ),
    "cost": dict(after=[file for files in ANSWER.values() for file in ([files] if isinstance(files, str) else files)]),
}


use rule stage as make_table with:
    input:
        unpack(lambda wildcards: TABLE_FILES[wildcards.table]),
    output:
        multiext(f"{RUN}/tables/{{table}}", ".md", ".tex"),
        out=report(
            f"{RUN}/tables/{{table}}.csv",
            caption="report/result.rst",
            category="Tables",
            labels=lambda wildcards: {"table": TABLES[wildcards.table].label},
        ),
    log:
        f"{RUN}/logs/make_table/{{table}}.log",
    benchmark:
        f"{RUN}/benchmarks/make_table/{{table}}.tsv"
    params:
        **run("make_table", table_block, ["reporting.tables.{table}"], table="{table}", simulated=SIMULATED),
        caption=lambda wildcards: TABLES[wildcards.table].said_of(config, SIMULATED),


use rule stage as make_report with:
    input:
        **ANSWER,
        cases=rules.merge_cohort.output.cases,
        splits=rules.split_cohort.output.out,
        rejected=rules.merge_cohort.output.rejected,
        reference_rejected=rules.measure_reference_masks.output.rejected if REFERENCE_ROOT else [],
        cost=f"{RUN}/tables/cost.csv",
    output:
        out=report(
            f"{RUN}/report.html",
            caption="report/report.rst",
            category="Answer",
            labels={"page": "report.html"},
        ),
    log:
        f"{RUN}/logs/make_report.log",
    benchmark:
        f"{RUN}/benchmarks/make_report.tsv"
    params:
        **run("make_report", config, simulated=SIMULATED),
