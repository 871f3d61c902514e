"""One loop, one checkpoint, one EMA for every network of the project. Uses models, cohort and base."""
