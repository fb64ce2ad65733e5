"""The assembled model as TensorFlow functions."""
