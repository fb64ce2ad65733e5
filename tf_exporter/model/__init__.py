"""Reads the files of a model folder. Only `google` imports TensorFlow."""
