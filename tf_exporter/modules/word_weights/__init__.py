"""sentence-transformers' WordWeights module."""
