"""Measurements, as ratios against peers in one interleaved run."""
