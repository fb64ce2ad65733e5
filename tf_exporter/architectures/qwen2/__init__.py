"""Qwen2 (A. Yang et al., 2024)."""
