"""The vectors of a multi-vector model beside those of the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tests.support.helpers import build
from tf_exporter.verification.reference_process import load

TASKS = {"serving_default": None, "encode_query": "query", "encode_document": "document"}
Rows = tuple[list[np.ndarray], list[list[int]]]


def theirs(model: Any, texts: list[str], task: str | None) -> Rows:
    """The vectors of each text that count, and the ids of their tokens."""
    encode = {None: model.encode, "query": model.encode_query, "document": model.encode_document}
    # Text by text: the vectors of the reference are raw before they are normalized.
    vectors = [encode[task]([text], convert_to_numpy=True)[0] for text in texts]
    raw = encode[task](texts, output_value=None)
    ids = [row["input_ids"][row["attention_mask"].bool()].tolist() for row in raw]
    return vectors, ids


def ours(model: Any, texts: list[str], name: str) -> Rows:
    results = model.vectors(tf.constant(texts), model.signatures[name])
    vectors, mask, ids = (result.numpy() for result in results)
    counts = mask.sum(1)
    assert mask.shape[1] == counts.max(initial=0)
    for row, count in enumerate(counts):
        assert mask[row, :count].all()
        assert not vectors[row, count:].any()
        assert not ids[row, count:].any()
    return (
        [vectors[row, :count] for row, count in enumerate(counts)],
        [ids[row, :count].tolist() for row, count in enumerate(counts)],
    )


def difference(folder: Path, texts: list[str]) -> float:
    """The largest difference over all tasks. The numbers of vectors and the ids must be equal."""
    reference, model = load(str(folder), "MultiVectorEncoder"), build(folder)
    worst = 0.0
    for name, task in TASKS.items():
        expected, expected_ids = theirs(reference, texts, task)
        actual, ids = ours(model, texts, name)
        assert ids == expected_ids, name
        for one, other in zip(actual, expected):
            worst = max(worst, float(np.abs(one - other).max(initial=0.0)))
    return worst
