"""Cosine similarities of four sentences, from a converted model, with TensorFlow alone."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

SENTENCES = [
    "How do I bake bread at home?",
    "A simple recipe for a sourdough loaf",
    "The stock market fell sharply today",
    "Shares lost value this afternoon",
]

SNIPPET = """import tensorflow as tf

graph = tf.saved_model.load("{path}")
graph.signatures["serving_default"](input_sequence=tf.constant([["This is a test"]]))"""


def main(path: str) -> None:
    graph = tf.saved_model.load(path)
    embeddings = tf.nn.l2_normalize(graph(tf.constant(SENTENCES)), axis=-1)
    cosines = tf.matmul(embeddings, embeddings, transpose_b=True).numpy()
    print("\nCosine similarities, in a process with", ", ".join(_libraries()), "imported:\n")
    for number, (sentence, row) in enumerate(zip(SENTENCES, cosines), start=1):
        print(f"{number}  {sentence:<40}" + "".join(f"{value:8.3f}" for value in row))
    print("\nTo use it:\n")
    print(SNIPPET.format(path=path))


def _libraries() -> list[str]:
    """The libraries of a conversion that this process has imported."""
    return [
        name
        for name in ("tensorflow", "torch", "transformers", "tokenizers", "tf_exporter")
        if name in sys.modules
    ]


if __name__ == "__main__":
    main(sys.argv[1])
