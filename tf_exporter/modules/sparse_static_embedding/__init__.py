"""sentence-transformers' SparseStaticEmbedding module."""
