"""Measure what a synthetic case costs on this device: seconds and peak memory of sampling and decoding, one at a time.

Writes to --out one row. The time is the median over --config `volumes` cases after one that is not counted; it holds
neither the start of the program nor the writing of files. Memory: on a GPU the peak that torch had allocated, on a CPU
the peak of the whole process.
"""

import resource
import time

from workflow_scripts.base.cli import log, program_parser, run_program
from workflow_scripts.base.files import write_tsv


def main(argv: list[str] | None = None) -> None:
    args = program_parser(__doc__, "model", "train", out="cost.tsv").parse_args(argv)

    import numpy as np
    import pandas as pd
    import torch

    from workflow_scripts.base.seeds import torch_rng
    from workflow_scripts.cohort.subset import Subset
    from workflow_scripts.diffusion.generator import Request
    from workflow_scripts.diffusion.kinds import load_generator
    from workflow_scripts.study.settings.evaluation import CostSettings
    from workflow_scripts.training.devices import default_device, describe, resolve_precision, use_threads

    use_threads(args.threads)
    settings = CostSettings.read(args.config, "evaluation.cost")
    device = default_device()
    train = Subset.open(args.train, "train")
    generator = load_generator(args.model, settings, device, train)
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    for number in range(settings.volumes + 1):
        rows = generator.conditions.rows
        started = time.perf_counter()
        host = generator.hosts.drawn(number) if generator.hosts else None
        request = Request(rows[number % len(rows)], torch_rng(settings.seed, "cost", number), host)
        list(generator.sample([request]))  # ends on the CPU: waits for the GPU
        seconds.append(time.perf_counter() - started)
    if on_gpu:
        peak = torch.cuda.max_memory_allocated(device)
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    row = {
        "system": generator.contract["name"],
        "n_real": train.n_patients,
        "seconds_per_volume": float(np.median(seconds[1:])),
        "peak_memory_mib": peak / 2**20,
        "memory_of": "GPU" if on_gpu else "process",
        "device": describe(device, resolve_precision(settings.precision, device)),
        "volumes": settings.volumes,
        "grid": "x".join(map(str, generator.contract["grid"]["size"])),
        "sampler": generator.describe(),
    }
    write_tsv(args.out, pd.DataFrame([row]))
    log.info(
        "%s: %.3g s a volume, peak memory %.0f MiB (%s), on %s",
        *(row["system"], row["seconds_per_volume"], row["peak_memory_mib"], row["memory_of"], row["device"]),
    )


if __name__ == "__main__":
    run_program(main)
