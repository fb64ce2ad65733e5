"""sentence-transformers' MultiVectorMask module."""
