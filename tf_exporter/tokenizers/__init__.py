"""Tokenizers as TensorFlow graphs, with the ids of Hugging Face tokenizers."""
