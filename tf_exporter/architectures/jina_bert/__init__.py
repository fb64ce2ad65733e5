"""JinaBERT (M. Günther et al., 2023)."""
