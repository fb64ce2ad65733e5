"""sentence-transformers' WeightedLayerPooling module."""
