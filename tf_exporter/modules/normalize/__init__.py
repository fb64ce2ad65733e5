"""sentence-transformers' Normalize module."""
