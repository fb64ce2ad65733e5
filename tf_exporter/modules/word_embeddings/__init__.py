"""sentence-transformers' WordEmbeddings module."""
