"""NomicBERT with mixtures of experts (Z. Nussbaum, B. Duderstadt, 2025)."""
