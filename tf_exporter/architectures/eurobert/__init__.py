"""EuroBERT (N. Boizard et al., 2025)."""
