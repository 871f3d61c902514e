"""How many synthetic cases an arm holds, and in which blocks they are: known to the rules and to the programs."""

from __future__ import annotations


def synthetic_count(n_real: int, ratio: float) -> int:
    """Synthetic cases of an arm: `ratio` for each of `n_real` real training patients, halves rounded up."""
    return int(ratio * n_real + 0.5)


def blocks_for(count: int, block_size: int) -> range:
    """Numbers of the blocks that hold the synthetic cases 0 ... `count` - 1."""
    return range(-(-count // block_size))
