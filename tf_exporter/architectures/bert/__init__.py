"""BERT (J. Devlin et al., 2018)."""
