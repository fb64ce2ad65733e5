"""sentence-transformers' Dense module."""
