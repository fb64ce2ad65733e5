"""sentence-transformers' StaticEmbedding module."""
