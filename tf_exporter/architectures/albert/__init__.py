"""ALBERT (Z. Lan et al., 2019)."""
