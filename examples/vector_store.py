"""Search by the vectors of all tokens: a converted multi-vector model, and Qdrant as the store.

    python vector_store.py index MODEL STORE FILE [FILE …]
    python vector_store.py search MODEL STORE QUERY [QUERY …] [--limit 5]

STORE is a folder: Qdrant's local mode needs no server. FILE has a text on each line. Both commands
need tensorflow and qdrant-client alone.
"""

from __future__ import annotations

import argparse
import fileinput
import os
from collections.abc import Iterable
from itertools import islice
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from qdrant_client import QdrantClient, models

COLLECTION = "texts"
BATCH = 64


def vectors(encode: Any, texts: list[str]) -> list[list[list[float]]]:
    """The vectors of each text that count for MaxSim. They come first in each row."""
    outputs = encode(input_sequence=tf.constant(texts))
    counts = tf.reduce_sum(outputs["mask"], axis=1).numpy()
    rows = outputs["token_embeddings"].numpy()
    return [row[:count].tolist() for row, count in zip(rows, counts)]


def index(encode: Any, client: QdrantClient, texts: Iterable[str]) -> None:
    """Stores texts and their vectors. The id of a text is its number, from 0."""
    client.create_collection(
        COLLECTION,
        vectors_config=models.VectorParams(
            size=encode.structured_outputs["token_embeddings"].shape[-1],
            # The dot product, as the model's own `score`. Most models give vectors of length 1.
            distance=models.Distance.DOT,
            multivector_config=models.MultiVectorConfig(
                comparator=models.MultiVectorComparator.MAX_SIM
            ),
        ),
    )
    numbered = enumerate(texts)
    while batch := list(islice(numbered, BATCH)):
        points = [
            models.PointStruct(id=number, vector=rows, payload={"text": text})
            for (number, text), rows in zip(batch, vectors(encode, [text for _, text in batch]))
            if rows  # Qdrant refuses a text without a vector, and no query could find it
        ]
        if points:
            client.upsert(COLLECTION, points)


def search(encode: Any, client: QdrantClient, query: str, limit: int) -> Any:
    """The best texts, best first. A score sums each query vector's best match in the text."""
    [rows] = vectors(encode, [query])
    return client.query_points(COLLECTION, query=rows, limit=limit).points


def main() -> None:
    parser = argparse.ArgumentParser(description="Search with a multi-vector model and Qdrant.")
    parser.add_argument("command", choices=("index", "search"))
    parser.add_argument("model", help="the folder of a converted model")
    parser.add_argument("store", help="the folder of the store")
    parser.add_argument("texts", nargs="+", help="index: files of texts; search: queries")
    parser.add_argument("--limit", type=int, default=5, help="how many texts to print")
    options = parser.parse_args()
    signatures = tf.saved_model.load(options.model).signatures
    client = QdrantClient(path=options.store)
    if options.command == "index":
        with fileinput.input(options.texts, encoding="utf-8") as lines:
            index(signatures["encode_document"], client, (line.rstrip("\n") for line in lines))
        print(client.count(COLLECTION).count, "texts")
    else:
        for query in options.texts:
            print(query)
            for point in search(signatures["encode_query"], client, query, options.limit):
                print(f"{point.score:10.5f}  {point.id:>6}  {point.payload['text']}")
    client.close()


if __name__ == "__main__":
    main()
