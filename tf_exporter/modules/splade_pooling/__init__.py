"""sentence-transformers' SpladePooling module."""
