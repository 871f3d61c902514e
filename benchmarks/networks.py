"""Our networks beside MONAI's of equal multiply-accumulates, in one run on one device: training steps and forward passes.

  python -m benchmarks.networks --size 144 192 192            # the full grid, on a GPU
  python -m benchmarks.networks --size 48 64 64 --scale 0.25  # small, on a CPU

The slice autoencoder is compared with MONAI's AutoencoderKL (2D), the denoiser of slice_ldm with its DiffusionModelUNet
(3D), both without attention. MONAI's widths are those whose count of multiply-accumulates comes nearest to ours. Prints a
line a network, and ratios; with --out also a JSON file that holds device and command.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import time
from bisect import bisect_left
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from monai.networks.nets import AutoencoderKL, DiffusionModelUNet
from torch import Tensor, nn

from workflow_scripts.evaluation.system_cost import count, parameters
from workflow_scripts.models.build_autoencoder import build_autoencoder
from workflow_scripts.models.build_denoiser import build_denoiser
from workflow_scripts.study.settings.systems import load_systems
from workflow_scripts.training.devices import (
    autocast,
    default_device,
    describe,
    lay_out,
    resolve_precision,
    use_threads,
)

MODALITIES, REGIONS, CONDITIONS = 4, 3, 11
GROUPS = 4  # of MONAI's group normalisation: widths are multiples of it


def macs(build: Callable[[], nn.Module], *shapes: tuple[int, ...]) -> float:
    """Multiply-accumulates of one forward pass, counted on the meta device."""
    with torch.device("meta"):
        return count(build().eval(), *(torch.zeros(shape) for shape in shapes)).flops / 2


def nearest(build: Callable[[float], nn.Module], wanted: float, *shapes: tuple[int, ...]) -> float:
    """The factor on MONAI's widths whose count is nearest to `wanted`."""
    factors = [step / 32 for step in range(4, 129)]
    counted = cache(lambda factor: macs(lambda: build(factor), *shapes))
    above = bisect_left(factors, wanted, key=counted)  # counts grow with the factor
    return min(factors[max(above - 1, 0) : above + 1], key=lambda factor: abs(counted(factor) - wanted))


def widths(channels: list[int], factor: float) -> list[int]:
    return [max(GROUPS, GROUPS * round(width * factor / GROUPS)) for width in channels]


def monai_autoencoder(channels: list[int], latent_channels: int) -> nn.Module:
    both = MODALITIES + REGIONS
    return AutoencoderKL(
        2, both, both, num_res_blocks=[1] * len(channels), channels=channels, attention_levels=[False] * len(channels),
        latent_channels=latent_channels, norm_num_groups=GROUPS, with_encoder_nonlocal_attn=False,
        with_decoder_nonlocal_attn=False,
    )  # fmt: skip


def monai_unet(channels: list[int], latent_channels: int) -> nn.Module:
    return DiffusionModelUNet(
        3, latent_channels, latent_channels, num_res_blocks=2, channels=channels,
        attention_levels=[False] * len(channels), norm_num_groups=GROUPS, num_head_channels=GROUPS,
    )  # fmt: skip


def timed(function: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median seconds of a call, after two that do not count."""
    seconds = []
    for index in range(repeats + 2):
        started = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if index >= 2:
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def measure(name: str, network: nn.Module, inputs: tuple[Tensor, ...], precision: str, repeats: int) -> dict:
    """Seconds of a training step and of a forward pass, and on a GPU the peak memory of each."""
    device = inputs[0].device
    network = network.to(device)
    lay_out(network, device, precision)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def forward() -> Tensor:
        with autocast(device, precision):
            made = network(*inputs)
        return (made[0] if isinstance(made, tuple) else made).float()

    def step() -> None:
        forward().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    row = {"network": name, "parameters_m": parameters(network) / 1e6, "batch": len(inputs[0])}
    row["gmacs"] = count(network, *inputs).flops / 2e9
    for key, function in (("train", step), ("forward", torch.no_grad()(forward))):
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        row[f"{key}_seconds"] = timed(function, device, repeats)
        if device.type == "cuda":
            row[f"{key}_memory_mib"] = torch.cuda.max_memory_allocated(device) / 2**20
    network.to("cpu")
    return row


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=[48, 64, 64], help="voxels: depth, height, width")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the widths of slice_ldm")
    parser.add_argument("--slices", type=int, default=16, help="batch of the autoencoders")
    parser.add_argument("--volumes", type=int, default=1, help="batch of the denoisers")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precision", default="auto", choices=("auto", "bf16", "32"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    use_threads(args.threads)
    torch.backends.cudnn.benchmark = True
    device = default_device()
    system = load_systems(["slice_ldm"], {"slice_ldm": {"scale": args.scale}}, args.size)["slice_ldm"].plain()
    spec, e = system["autoencoder"], system["autoencoder"]["latent_channels"]
    grid = {"size": args.size, "spacing_mm": [1.0, 1.0, 1.0]}
    ours = build_autoencoder(spec, MODALITIES, REGIONS, grid)
    latent = ours.latent_shape(args.size)
    halvings = len(system["denoiser"]["channels"]) - 2  # of MONAI's UNet, which cannot halve an odd edge
    if any(edge % 2**halvings for edge in latent[1:]):
        parser.error(f"--size gives latents of {list(latent[1:])}: MONAI's UNet needs multiples of {2**halvings}")
    x = torch.randn(args.slices, MODALITIES + REGIONS, *args.size[1:], device=device)
    position, noise = torch.rand(args.slices, device=device), torch.randn(args.slices, e, *latent[2:], device=device)
    z, times = torch.randn(args.volumes, *latent, device=device), torch.full((args.volumes,), 500.0, device=device)
    features = torch.randn(args.volumes, CONDITIONS, device=device)

    slice_shapes = (x.shape, position.shape, noise.shape)
    wanted = macs(lambda: build_autoencoder(spec, MODALITIES, REGIONS, grid), *slice_shapes)
    factor = nearest(lambda f: monai_autoencoder(widths(spec["channels"], f), e), wanted, x.shape)
    theirs = monai_autoencoder(widths(spec["channels"], factor), e)
    unet = system["denoiser"]
    wanted = macs(lambda: build_denoiser(unet, e, CONDITIONS), z.shape, times.shape, features.shape)
    channels = unet["channels"][1:]
    factor = nearest(lambda f: monai_unet(widths(channels, f), e), wanted, z.shape, times.shape)
    settings = {"precision": args.precision, "repeats": args.repeats}
    rows = [
        measure("slice autoencoder, ours", ours, (x, position, noise), **settings),
        measure("slice autoencoder, MONAI AutoencoderKL", theirs, (x,), **settings),
        measure("denoiser, ours", build_denoiser(unet, e, CONDITIONS), (z, times, features), **settings),
        measure("denoiser, MONAI DiffusionModelUNet", monai_unet(widths(channels, factor), e), (z, times), **settings),
    ]
    where = describe(device, resolve_precision(args.precision, device))
    print(f"on {where}; grid {'x'.join(map(str, args.size))}, latents {'x'.join(map(str, latent))}")
    for row in rows:
        memory = f", {row['train_memory_mib']:.0f} MiB in training" if "train_memory_mib" in row else ""
        print(
            f"{row['network']:40} {row['parameters_m']:7.1f} M, {row['gmacs']:9.1f} GMAC, batch {row['batch']}: "
            f"{1 / row['train_seconds']:.3g} steps/s, {row['batch'] / row['forward_seconds']:.3g} samples/s forward{memory}"
        )
    for mine, other in ((rows[0], rows[1]), (rows[2], rows[3])):
        ratios = {key: other[f"{key}_seconds"] / mine[f"{key}_seconds"] for key in ("train", "forward")}
        print(
            f"{mine['network']}: {ratios['train']:.2f} times MONAI's speed in training, {ratios['forward']:.2f} forward"
        )
    if args.out:
        command = f"python -m benchmarks.networks {' '.join(map(shlex.quote, sys.argv[1:]))}"
        args.out.write_text(json.dumps({"device": where, "command": command, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
