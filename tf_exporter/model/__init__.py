"""What a model folder says. Nothing here imports TensorFlow."""
