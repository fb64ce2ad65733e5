"""Ministral 3 (Mistral AI, 2025)."""
