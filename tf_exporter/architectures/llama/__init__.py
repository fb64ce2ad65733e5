"""Layers of Llama (H. Touvron et al., 2023), for Qwen2, Qwen3 and EuroBERT."""
