"""sentence-transformers' Pooling module."""
