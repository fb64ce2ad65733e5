"""Pre-tokenizers."""
