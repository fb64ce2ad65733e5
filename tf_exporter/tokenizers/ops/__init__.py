"""Building blocks of tokenizers: ragged strings, tables and tries."""
