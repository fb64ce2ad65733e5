"""ModernBERT (B. Warner et al., 2024)."""
