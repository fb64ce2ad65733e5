"""Programs that make tables and long comparisons."""
