"""Whether synthetic cases are copies of training cases."""
