"""sentence-transformers' CNN module."""
