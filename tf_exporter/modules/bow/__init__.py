"""sentence-transformers' BoW module."""
