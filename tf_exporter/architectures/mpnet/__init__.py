"""MPNet (K. Song et al., 2020)."""
