"""Benchmarks: what eventmw costs, each time beside a control in the same run. ``python -m benchmarks --help``."""
