"""Comparison of a SavedModel with the reference."""
