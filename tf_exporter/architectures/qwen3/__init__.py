"""Qwen3 (A. Yang et al., 2025)."""
