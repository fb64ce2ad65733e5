"""DeBERTa-v2 and v3 (P. He et al., 2020)."""
