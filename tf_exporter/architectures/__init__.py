"""Architectures, one folder each: `config.py` reads config.json, `encoder.py` is the encoder."""
