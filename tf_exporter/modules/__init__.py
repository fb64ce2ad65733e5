"""The modules of sentence-transformers, one folder each, with a `config.py` and a `layer.py`."""
