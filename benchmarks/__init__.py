"""Measurements; each is run with `python -m benchmarks.NAME`."""
