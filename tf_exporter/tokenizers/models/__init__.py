"""Tokenizer models: WordPiece, Unigram, BPE, WordLevel."""
