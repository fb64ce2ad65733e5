"""BERT with rotary positions."""
