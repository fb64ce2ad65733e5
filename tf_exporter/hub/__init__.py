"""TensorFlow Hub's pair for text, a preprocessing model and an encoder, as the Model Garden exports it; and classifiers."""
