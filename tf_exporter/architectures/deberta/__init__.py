"""DeBERTa (P. He et al., 2020), its first version."""
