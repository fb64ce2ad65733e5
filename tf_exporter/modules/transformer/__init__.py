"""sentence-transformers' Transformer module."""
