"""Tokenizers in stock TensorFlow ops, step by step as Hugging Face `tokenizers` names them."""
