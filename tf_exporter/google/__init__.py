"""Google's own BERT checkpoints, of google-research/bert (TensorFlow 1) and of the Model Garden (TensorFlow 2)."""
