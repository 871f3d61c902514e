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
        **run("evaluation.gather_scores"),


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
        **run("reporting.pack_viewer", blocks.viewer, simulated=SIMULATED),


# What each figure is drawn from; `of` holds the n_real and the system that it is of.
FIGURE_FILES = {
    "dice_vs_ratio": lambda of: dict(
        scores=rules.gather_scores.output.scores, ratios=f"{RUN}/tables/augmentation_ratio.csv"
    ),
    "ladder": lambda of: dict(ladder=f"{RUN}/tables/ladder.csv"),
    "exchange": lambda of: dict(exchange=f"{RUN}/tables/exchange.csv"),
    "real_and_synthetic": lambda of: dict(train=TRAIN.format_map(vars(of)), blocks=FILES.first_synthetic(of)),
    "memorisation": lambda of: dict(
        train=TRAIN.format_map(vars(of)),
        val=VAL,
        test=TEST,
        synthetic=f"{N}/synthetic/{{system}}/cases.tsv".format_map(vars(of)),
        audit=f"{OF_SYSTEM}/memorisation.tsv".format_map(vars(of)),
    ),
    "control_sweep": lambda of: {
        name: f"{OF_SYSTEM}/control_sweep.{suffix}".format_map(vars(of))
        for name, suffix in (("sweep", "tsv"), ("slices", "safetensors"))
    },
}


# One figure of the study, or one of each n_real and system: {place} is "" or "n_real~20/", {suffix} "" or "_slice_ldm".
use rule stage as make_figure with:
    input:
        unpack(lambda wildcards: FIGURE_FILES[wildcards.figure](of_figure(wildcards))),
    output:
        out=report(
            f"{RUN}/figures/{{place}}{{figure}}{{suffix}}.png",
            caption="report/result.rst",
            category="Figures",
            labels=lambda wildcards: {
                "figure": FIGURES[wildcards.figure].label,
                "system": of_figure(wildcards).system or "all",
                "real patients": of_figure(wildcards).n_real or "all",
            },
        ),
    log:
        f"{RUN}/logs/make_figure/{{place}}{{figure}}{{suffix}}.log",
    benchmark:
        f"{RUN}/benchmarks/make_figure/{{place}}{{figure}}{{suffix}}.tsv"
    resources:
        **needs(4000, "1h"),
    params:
        **run(
            "reporting.make_figure",
            lambda config, wildcards: blocks.looks(config) | FIGURES[wildcards.figure].block(config),
            ["reporting.figures.{figure}"],
            figure="{figure}",
            system=lambda config, wildcards: of_figure(wildcards).system or None,
            n_real=lambda config, wildcards: of_figure(wildcards).n_real or None,
            simulated=SIMULATED,
        ),
        caption=lambda wildcards: FIGURES[wildcards.figure].says_with_settings(
            config, SIMULATED, **vars(of_figure(wildcards))
        ),


# What the report reads, but for the cohort and the cost table: all that the study makes leads here.
ANSWER = dict(
    augmentation_ratio=f"{RUN}/tables/augmentation_ratio.csv",
    ladder=f"{RUN}/tables/ladder.csv",
    kinds=f"{RUN}/tables/kinds.csv",
    exchange=f"{RUN}/tables/exchange.csv",
    systems=f"{RUN}/tables/systems.csv",
    compute=[f"{RUN}/tables/compute.csv"] * bool(SAMPLED),
    figures=all_figures(),
    viewer=f"{RUN}/figures/n_real~{N_REAL[-1]}/viewer.json",
    control=[f"{RUN}/tables/control.csv"] * bool(SAMPLED),
    masks=f"{RUN}/tables/masks.csv",
    memorisation=f"{RUN}/tables/memorisation.csv",
    images=f"{RUN}/tables/images.csv",
    synthetic=FILES.of_systems(f"{N}/synthetic/{{system}}/cases.tsv"),
    synthetic_rejected=FILES.of_systems(f"{N}/synthetic/{{system}}/rejected.tsv"),
    reconstruction=FILES.of_autoencoders("reconstruction.tsv"),
)

# What each table is made of. Benchmark files are side products: as inputs, a lost one would run its job again. So the last
# outputs of all branches are the inputs of the cost table, which is made when nothing is left to run but the report.
TABLE_FILES = {
    **{name: dict(scores=rules.gather_scores.output.scores) for name in ("augmentation_ratio", "ladder", "exchange")},
    "kinds": dict(
        scores=rules.gather_scores.output.scores,
        conditions=expand(rules.measure_tumours.output.out, n_real=N_REAL),
    ),
    "compute": dict(costs=expand(f"{RUN}/evaluation/n_real~{N_REAL[-1]}/{{system}}/cost.tsv", system=SAMPLED)),
    "systems": dict(
        ratios=f"{RUN}/tables/augmentation_ratio.csv",
        images=FILES.evaluations("images.tsv"),
        compute=[f"{RUN}/tables/compute.csv"] * bool(SAMPLED),
    ),
    "images": dict(images=FILES.evaluations("images.tsv")),
    "control": dict(control=FILES.evaluations("control.tsv", SAMPLED)),
    "masks": dict(masks=FILES.evaluations("masks.tsv")),
    "memorisation": dict(summaries=FILES.evaluations("memorisation_summary.tsv")),
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
        **run("reporting.make_table", table_block, [table_modules], table="{table}", simulated=SIMULATED),
        caption=lambda wildcards: TABLES[wildcards.table].says_with_settings(config, SIMULATED),


# All trainings in a tracker's own format, where the key `tracking` asks for it. The files are found below the run's folder.
use rule stage as track_run with:
    input:
        after=[
            *FILES.of_autoencoders("loss.csv"),
            *FILES.of_systems(f"{N}/generator/{{system}}/model.json", SAMPLED),
            *FILES.of_arms("dice.tsv"),
        ],
    output:
        out=f"{RUN}/tracking/{{tracker}}.txt",
    log:
        f"{RUN}/logs/track_run/{{tracker}}.log",
    benchmark:
        f"{RUN}/benchmarks/track_run/{{tracker}}.tsv"
    params:
        **run("reporting.track_run", run=RUN, tracker="{tracker}"),


use rule stage as make_report with:
    input:
        **ANSWER,
        cases=rules.merge_cohort.output.cases,
        splits=rules.split_cohort.output.out,
        rejected=rules.merge_cohort.output.rejected,
        remarks=rules.merge_cohort.output.remarks,
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
        **run("reporting.make_report", STUDY.asked() | blocks.looks(config), simulated=SIMULATED),
