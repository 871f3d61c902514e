"""One loop, one checkpoint, one EMA for every network of the project. Uses models, cohort and base."""

from ..base.deferred import defer

defer("lightning", submodules=True)  # `lightning.fabric` is all that is used
defer("torchmetrics")
