"""sentence-transformers' LayerNorm module."""
