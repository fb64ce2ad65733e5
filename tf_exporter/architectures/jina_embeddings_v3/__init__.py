"""Jina embeddings v3 (S. Sturua et al., 2024)."""
