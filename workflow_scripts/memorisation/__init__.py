"""Is a synthetic case a copy of a training case: likeness, thresholds, the training set compared with, the gate."""
