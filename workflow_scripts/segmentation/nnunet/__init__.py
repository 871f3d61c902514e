"""nnU-Net v2 as a segmenter: its own plan, preprocessing, training and sliding window."""

from ...base.deferred import defer

defer("seaborn")  # of its progress plot, which no arm asks for
