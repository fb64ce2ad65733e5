"""sentence-transformers' LogitScore module."""
