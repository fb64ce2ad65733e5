"""Programs for generated tables and long comparisons."""
