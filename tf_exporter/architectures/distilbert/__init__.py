"""DistilBERT (V. Sanh et al., 2019)."""
