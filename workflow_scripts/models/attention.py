"""Self-attention over the places of a feature map, in two or three dimensions."""

from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import CONV, group_norm, zeroed

HEAD_WIDTH = 64


class SelfAttention(nn.Module):
    """Every place looks at every other; added to what comes in: (B, C, *size) -> (B, C, *size).

    Multi-head attention (Vaswani et al. 2017) with convolutional projections of queries, keys and values (Wu et al.
    2021, arXiv 2103.15808), heads about `HEAD_WIDTH` wide. It starts as the identity. Time and memory of the scores
    are those of ``scaled_dot_product_attention``; on a GPU they are never held as a whole.
    """

    def __init__(self, channels: int, dims: int):
        super().__init__()
        self.heads = max(count for count in range(1, max(1, channels // HEAD_WIDTH) + 1) if channels % count == 0)
        self.norm = group_norm(channels)
        self.queries_keys_values = CONV[dims](channels, 3 * channels, 3, padding=1)
        self.out = zeroed(CONV[dims](channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        projected = self.queries_keys_values(self.norm(x)).flatten(2)  # (B, 3 C, N), N places
        batch, width, places = projected.shape
        split = projected.reshape(batch, 3, self.heads, width // (3 * self.heads), places).transpose(-1, -2)
        q, k, v = split.unbind(1)  # (B, heads, N, C / heads) each
        h = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2)  # (B, heads, C / heads, N)
        return x + self.out(h.reshape(x.shape))
