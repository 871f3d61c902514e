"""The simulated cohort: patients with a brain, a tumour and four contrasts."""
