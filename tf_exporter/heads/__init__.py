"""Heads: layers after an encoder."""
