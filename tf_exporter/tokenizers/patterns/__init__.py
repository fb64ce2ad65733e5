"""Regular expressions of tokenizers."""
