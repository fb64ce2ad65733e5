"""Google's BERT checkpoints, with stand-ins for the files of transformers."""
