"""ConvBERT (Z. Jiang et al., 2020)."""
