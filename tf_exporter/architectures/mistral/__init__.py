"""Mistral (A. Jiang et al., 2023)."""
