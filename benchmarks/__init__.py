"""Benchmarks: ratios against peers, measured in one interleaved run."""
