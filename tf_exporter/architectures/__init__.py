"""What is known of each architecture without its weights. Nothing here imports TensorFlow."""
