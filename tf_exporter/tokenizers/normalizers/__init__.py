"""Normalizers."""
