"""Noise schedules, parameterizations, samplers and synthesis: pure functions of (model, noise, conditions, seed)."""
