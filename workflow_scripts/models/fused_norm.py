"""Group normalisation, scale and shift, SiLU and the addition of a shortcut in one pass over a feature map, on a GPU.

PyTorch runs them one by one, under autocast in fp32 and in another layout than the convolutions' (channels last): at
full size that is most of an autoencoder's step. Here moments and arithmetic are fp32, memory is read and written in the
convolutions' own type and layout. All sums are taken in a fixed order.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..base.cli import log

try:
    import triton
    import triton.language as tl
except ImportError:  # PyTorch for a CPU comes without
    triton = None

TILE = 8192  # elements that a program holds at once
PROGRAMS = 1024  # that share the sums of a batch, at most

if triton is not None:

    @triton.jit
    def _tile(start, last, channels, rows_: tl.constexpr, channels_: tl.constexpr):
        """Offsets and mask of rows `start` ... of a sample, laid out (rows, channels)."""
        row, c = start + tl.arange(0, rows_), tl.arange(0, channels_)
        offsets = row.to(tl.int64)[:, None] * channels + c[None, :]
        return offsets, (row < last)[:, None] & (c < channels)[None, :]

    @triton.jit
    def _moments(x, parts, rows, channels, share, shares, rows_: tl.constexpr, channels_: tl.constexpr):
        """Mean and sum of squared deviations of each channel over a share of a sample's rows."""
        k, b, c = tl.program_id(0), tl.program_id(1), tl.arange(0, channels_)
        x += b.to(tl.int64) * rows * channels
        first, last = k * share, tl.minimum((k + 1) * share, rows)
        # sums of what exceeds the first row: no digits are lost where a channel's mean is far from 0
        origin = tl.load(x + first.to(tl.int64) * channels + c, c < channels, 0.0).to(tl.float32)
        total, squares = tl.zeros([rows_, channels_], tl.float32), tl.zeros([rows_, channels_], tl.float32)
        for start in range(first, last, rows_):
            offsets, mask = _tile(start, last, channels, rows_, channels_)
            value = tl.where(mask, tl.load(x + offsets, mask, 0.0).to(tl.float32) - origin[None, :], 0.0)
            total += value
            squares += value * value
        mean = tl.sum(total, 0) / (last - first)
        squares = tl.sum(squares, 0) - mean * mean * (last - first)
        mean += origin
        parts += (b * shares + k) * 2 * channels + c
        tl.store(parts, mean, c < channels)
        tl.store(parts + channels, squares, c < channels)

    @triton.jit
    def _merge(parts, stats, rows, channels, groups, share, shares, eps, shares_: tl.constexpr, width_: tl.constexpr):
        """Mean and 1 / standard deviation of a group of channels, from the moments of its channels and shares (Chan et al.
        1983)."""
        g, b = tl.program_id(0), tl.program_id(1)
        width = channels // groups
        k, c = tl.arange(0, shares_)[:, None], tl.arange(0, width_)[None, :]
        mask = (k < shares) & (c < width)
        parts += (b * shares + k) * 2 * channels + g * width + c
        own, squares = tl.load(parts, mask, 0.0), tl.load(parts + channels, mask, 0.0)
        n = tl.where(mask, tl.minimum(rows - k * share, share), 0).to(tl.float32)
        total = 1.0 * rows * width
        mean = tl.sum(own * n) / total
        variance = (tl.sum(squares) + tl.sum(n * (own - mean) * (own - mean))) / total
        tl.store(stats + (b * groups + g) * 2, mean)
        tl.store(stats + (b * groups + g) * 2 + 1, tl.rsqrt(variance + eps))

    @triton.jit
    def _affine(stats, weight, bias, film, b, channels, groups, film_on: tl.constexpr, channels_: tl.constexpr):
        """Of each channel: its group's mean and 1 / standard deviation, and factor and addend of what is normalised."""
        c = tl.arange(0, channels_)
        inside = c < channels
        group = stats + (b * groups + c // (channels // groups)) * 2
        mean, inverse = tl.load(group, inside, 0.0), tl.load(group + 1, inside, 0.0)
        factor, addend = tl.load(weight + c, inside, 0.0), tl.load(bias + c, inside, 0.0)
        if film_on:
            film += b * 2 * channels + c
            scale = 1.0 + tl.load(film, inside, 0.0).to(tl.float32)
            factor, addend = factor * scale, addend * scale + tl.load(film + channels, inside, 0.0).to(tl.float32)
        return mean[None, :], inverse[None, :], factor[None, :], addend[None, :]

    @triton.jit
    def _apply(
        x, y, shortcut, stats, weight, bias, film, rows, channels, groups,
        film_on: tl.constexpr, shortcut_on: tl.constexpr, rows_: tl.constexpr, channels_: tl.constexpr,
    ):  # fmt: skip
        b = tl.program_id(1)
        base = b.to(tl.int64) * rows * channels
        mean, inverse, factor, addend = _affine(stats, weight, bias, film, b, channels, groups, film_on, channels_)
        offsets, mask = _tile(tl.program_id(0) * rows_, rows, channels, rows_, channels_)
        value = tl.load(x + base + offsets, mask, 0.0).to(tl.float32)
        value = (value - mean) * inverse * factor + addend
        value = value * tl.sigmoid(value)
        if shortcut_on:
            value += tl.load(shortcut + base + offsets, mask, 0.0).to(tl.float32)
        tl.store(y + base + offsets, value, mask)

    @triton.jit
    def _before_silu(x, dy, offsets, mask, mean, inverse, factor, addend):
        """The normalised values, and the gradient of what goes into SiLU."""
        normalised = (tl.load(x + offsets, mask, 0.0).to(tl.float32) - mean) * inverse
        value = normalised * factor + addend
        gate = tl.sigmoid(value)
        gradient = tl.load(dy + offsets, mask, 0.0).to(tl.float32) * gate * (1.0 + value * (1.0 - gate))
        return tl.where(mask, normalised, 0.0), gradient

    @triton.jit
    def _sums(
        x, dy, parts, stats, weight, bias, film, rows, channels, groups, share, shares,
        film_on: tl.constexpr, rows_: tl.constexpr, channels_: tl.constexpr,
    ):  # fmt: skip
        """Sums over a share of a sample's rows of the gradient before SiLU, and of it times the normalised values."""
        k, b, c = tl.program_id(0), tl.program_id(1), tl.arange(0, channels_)
        base = b.to(tl.int64) * rows * channels
        mean, inverse, factor, addend = _affine(stats, weight, bias, film, b, channels, groups, film_on, channels_)
        first, last = k * share, tl.minimum((k + 1) * share, rows)
        plain, weighted = tl.zeros([rows_, channels_], tl.float32), tl.zeros([rows_, channels_], tl.float32)
        for start in range(first, last, rows_):
            offsets, mask = _tile(start, last, channels, rows_, channels_)
            normalised, gradient = _before_silu(x + base, dy + base, offsets, mask, mean, inverse, factor, addend)
            plain += gradient
            weighted += gradient * normalised
        parts += (b * shares + k) * 2 * channels + c
        tl.store(parts, tl.sum(plain, 0), c < channels)
        tl.store(parts + channels, tl.sum(weighted, 0), c < channels)

    @triton.jit
    def _finish(
        parts, means, affine, dfilm, weight, bias, film, rows, channels, groups, shares,
        film_on: tl.constexpr, shares_: tl.constexpr, width_: tl.constexpr,
    ):  # fmt: skip
        """From the sums of the shares: their means over a group, the gradients of scale and shift, and a sample's part in
        those of bias and weight."""
        g, b = tl.program_id(0), tl.program_id(1)
        width = channels // groups
        k, c = tl.arange(0, shares_)[:, None], tl.arange(0, width_)
        mask, inside, own = (k < shares) & (c < width)[None, :], c < width, g * width + c
        parts += (b * shares + k) * 2 * channels + own[None, :]
        plain, weighted = tl.sum(tl.load(parts, mask, 0.0), 0), tl.sum(tl.load(parts + channels, mask, 0.0), 0)
        factor, addend = tl.load(weight + own, inside, 0.0), tl.load(bias + own, inside, 0.0)
        if film_on:
            dfilm += b * 2 * channels + own
            tl.store(dfilm, weighted * factor + plain * addend, inside)
            tl.store(dfilm + channels, plain, inside)
            scale = 1.0 + tl.load(film + b * 2 * channels + own, inside, 0.0).to(tl.float32)
            plain, weighted = plain * scale, weighted * scale
        affine += b * 2 * channels + own
        tl.store(affine, plain, inside)
        tl.store(affine + channels, weighted, inside)
        means += b * 2 * groups + g
        count = 1.0 * rows * width
        tl.store(means, tl.sum(plain * factor) / count)
        tl.store(means + groups, tl.sum(weighted * factor) / count)

    @triton.jit
    def _gradient(
        x, dy, dx, stats, means, weight, bias, film, rows, channels, groups,
        film_on: tl.constexpr, rows_: tl.constexpr, channels_: tl.constexpr,
    ):  # fmt: skip
        b, c = tl.program_id(1), tl.arange(0, channels_)
        base = b.to(tl.int64) * rows * channels
        mean, inverse, factor, addend = _affine(stats, weight, bias, film, b, channels, groups, film_on, channels_)
        group = means + b * 2 * groups + c // (channels // groups)
        plain, weighted = (
            tl.load(group, c < channels, 0.0)[None, :],
            tl.load(group + groups, c < channels, 0.0)[None, :],
        )
        offsets, mask = _tile(tl.program_id(0) * rows_, rows, channels, rows_, channels_)
        normalised, gradient = _before_silu(x + base, dy + base, offsets, mask, mean, inverse, factor, addend)
        tl.store(dx + base + offsets, (gradient * factor - plain - normalised * weighted) * inverse, mask)


class _NormSilu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, film, shortcut, groups, eps):
        dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else x.dtype
        x, shortcut = _channels_last(x), None if shortcut is None else _channels_last(shortcut)
        film = None if film is None else film.contiguous()
        batch, channels, rows, tile, share, shares = _layout(x)
        parts = x.new_empty((batch, shares, 2, channels), dtype=torch.float32)
        stats = x.new_empty((batch, groups, 2), dtype=torch.float32)
        _moments[shares, batch](x, parts, rows, channels, share, shares, **tile, num_warps=8)
        _merge[groups, batch](parts, stats, rows, channels, groups, share, shares, eps, **_merged(x, shares, groups))
        y = torch.empty_like(x, dtype=dtype)
        _apply[triton.cdiv(rows, tile["rows_"]), batch](
            x, y, x if shortcut is None else shortcut, stats, weight, bias, x if film is None else film, rows, channels,
            groups, film is not None, shortcut is not None, **tile, num_warps=8,
        )  # fmt: skip
        ctx.save_for_backward(x, weight, bias, film, stats)
        ctx.groups, ctx.shortcut_dtype = groups, None if shortcut is None else shortcut.dtype
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, weight, bias, film, stats = ctx.saved_tensors
        dy, groups = _channels_last(dy), ctx.groups
        batch, channels, rows, tile, share, shares = _layout(x)
        parts = x.new_empty((batch, shares, 2, channels), dtype=torch.float32)
        affine = (weight, bias, x if film is None else film, rows, channels, groups)
        _sums[shares, batch](x, dy, parts, stats, *affine, share, shares, film is not None, **tile, num_warps=8)
        means, own = parts.new_empty((batch, 2, groups)), parts.new_empty((batch, 2, channels))
        dfilm = None if film is None else torch.empty_like(film)
        _finish[groups, batch](
            parts,
            means,
            own,
            own if film is None else dfilm,
            *affine,
            shares,
            film is not None,
            **_merged(x, shares, groups),
        )
        dx = torch.empty_like(x)
        _gradient[triton.cdiv(rows, tile["rows_"]), batch](
            x, dy, dx, stats, means, *affine, film is not None, **tile, num_warps=8
        )
        dbias, dweight = own.sum(0)
        dshortcut = None if ctx.shortcut_dtype is None else dy.to(ctx.shortcut_dtype)
        return dx, dweight, dbias, dfilm, dshortcut, None, None


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format={4: torch.channels_last, 5: torch.channels_last_3d}[x.ndim])


def _layout(x: Tensor) -> tuple[int, int, int, dict[str, int], int, int]:
    """Samples, channels and rows of `x`, the tile of a program, and how many rows a share of the sums has, and how many
    shares there are in a sample: both are functions of the shape alone."""
    batch, channels = x.shape[:2]
    rows, width = x[0, 0].numel(), triton.next_power_of_2(channels)
    tile = max(1, TILE // width)
    share = triton.cdiv(triton.cdiv(rows, max(1, PROGRAMS // batch)), tile) * tile
    return batch, channels, rows, {"rows_": tile, "channels_": width}, share, triton.cdiv(rows, share)


def _merged(x: Tensor, shares: int, groups: int) -> dict[str, int]:
    """The tile of a program that takes all shares of a group of channels."""
    return {"shares_": triton.next_power_of_2(shares), "width_": triton.next_power_of_2(x.shape[1] // groups)}


def norm_silu(
    x: Tensor, norm: torch.nn.GroupNorm, film: Tensor | None = None, shortcut: Tensor | None = None
) -> Tensor:
    """SiLU(norm(x) * (1 + scale) + shift) + shortcut: x and shortcut (B, C, *size), film (B, 2 C) scale and shift.

    On a GPU; under autocast the result has autocast's type, else that of `x`.
    """
    return _NormSilu.apply(x, norm.weight, norm.bias, film, shortcut, norm.num_groups, norm.eps)


@cache
def works_on(device: torch.device) -> bool:
    """Whether Triton is there and makes kernels for `device` (it needs a C compiler). Tried once in a process."""
    if triton is None or device.type != "cuda":
        return False
    try:
        with torch.inference_mode(False), torch.enable_grad():
            x = torch.ones((1, 4, 2, 2), device=device, requires_grad=True)
            norm_silu(x, torch.nn.GroupNorm(1, 4, device=device)).sum().backward()
        torch.cuda.synchronize(device)
    except Exception as error:  # whatever a compiler may say
        log.warning("Triton makes no kernels here, so networks run slower: %s", str(error).splitlines()[0])
        return False
    return True
