"""EmbeddingGemma 2's text encoder (Google, 2026)."""
