"""A segmenter's plan, pool, training and predictions."""
