"""Everything that knows nnU-Net: the plan, the pool of preprocessed cases, the arms, their training, prediction."""
