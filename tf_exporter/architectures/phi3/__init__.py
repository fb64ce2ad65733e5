"""Phi-3 (M. Abdin et al., 2024)."""
