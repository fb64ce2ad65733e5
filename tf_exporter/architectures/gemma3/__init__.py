"""Gemma 3's text encoder (Gemma team, 2025)."""
