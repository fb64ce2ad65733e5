"""GTE (X. Zhang et al., 2024)."""
