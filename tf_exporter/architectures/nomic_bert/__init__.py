"""NomicBERT (Z. Nussbaum et al., 2024)."""
