"""sentence-transformers' SparseAutoEncoder module."""
