"""nnU-Net v2 as a segmenter: its own plan, preprocessing, training and sliding window."""
