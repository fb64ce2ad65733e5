"""sentence-transformers' LSTM module."""
