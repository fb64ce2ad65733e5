"""XLNet (Z. Yang et al., 2019)."""
