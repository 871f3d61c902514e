"""Intervals, tests and spreads over patients, cases and seeds."""
