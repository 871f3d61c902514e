"""What every segmenter's network needs: convolutions that are right on a CPU, and weights read back."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ..base.errors import UserError
from ..models.blocks import Conv3d


def use_own_convolutions(network: nn.Module) -> None:
    """Make the network's 3D convolutions the project's: right for shallow volumes, fast for single ones, on a CPU too."""
    for module in network.modules():
        if type(module) is nn.Conv3d:
            module.__class__ = Conv3d


def load_weights(network: nn.Module, file: Path) -> nn.Module:
    """The network with an arm's weights, in evaluation mode.

    Raises UserError if the file is missing, damaged, or belongs to a network of another plan.
    """
    try:
        wrong = network.load_state_dict(load_file(file), strict=False)
        own = {name for name, _ in (*network.named_parameters(), *network.named_buffers())}  # a shared weight once
        if names := [*wrong.unexpected_keys, *own.intersection(wrong.missing_keys)]:
            raise RuntimeError(f"{names[0]} is in one of them alone")
    except FileNotFoundError:
        raise UserError(f"missing file {file}: run `snakemake -R train_segmentation`") from None
    except (SafetensorError, RuntimeError) as error:
        text = str(error).splitlines()[0]
        raise UserError(f"{file} does not fit the plan, or is damaged ({text}): train the arm again") from None
    return network.eval()
