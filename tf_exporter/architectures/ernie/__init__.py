"""ERNIE (Y. Sun et al., 2020)."""
