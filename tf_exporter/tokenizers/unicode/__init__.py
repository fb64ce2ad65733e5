"""Properties of code points, probed from the installed `tokenizers`."""
