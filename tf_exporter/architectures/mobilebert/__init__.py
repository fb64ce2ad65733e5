"""MobileBERT (Z. Sun et al., 2020)."""
