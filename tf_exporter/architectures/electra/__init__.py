"""ELECTRA (K. Clark et al., 2020)."""
