"""sentence-transformers' Dropout module."""
