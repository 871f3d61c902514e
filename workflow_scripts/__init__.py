"""SliceAug: one program a workflow rule, and the rooms (subpackages) that the programs are made of."""
