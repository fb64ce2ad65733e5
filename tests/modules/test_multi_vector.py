"""Multi-vector models: the same vectors, masks and ids as the reference, in all its layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fixtures import models
from fixtures.multi_vector import (
    EXPANSIONS,
    MASKS,
    PROMPTS,
    write_multi_vector,
    write_pylate,
    write_stanford,
)
from tests.support.helpers import build
from tf_exporter.verification.reference_process import load

TOLERANCE = 1e-5
TEXTS = [
    *models.texts(3, 14),
    "",
    "hello, world! The (hello) - world; of the: hello?",
    "[Q] hello [D] world [MASK]",
    "hello " * 40,
]
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


def difference(folder: Path, texts: list[str] = TEXTS) -> float:
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


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("expansion", EXPANSIONS)
def test_own_layout(tmp_path: Path, expansion: str, mask: str) -> None:
    folder = write_multi_vector(
        tmp_path / "model",
        expansion=EXPANSIONS[expansion],
        mask=MASKS[mask],
        prompts=PROMPTS,
        document_length=20,
    )
    assert difference(folder) <= TOLERANCE


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "PyLate": write_pylate,
    "PyLate without expansion": lambda folder: write_pylate(folder, do_query_expansion=False),
    "PyLate with attention": lambda folder: write_pylate(folder, attend_to_expansion_tokens=True),
    "PyLate with words": lambda folder: write_pylate(folder, skiplist_words=["hello"]),
    "PyLate with known prefixes": lambda folder: write_pylate(
        folder, query_prefix="hello ", document_prefix="world"
    ),
    "Stanford": write_stanford,
    "Stanford, attended": lambda folder: write_stanford(folder, attend_to_mask_tokens=True),
    "Stanford with punctuation": lambda folder: write_stanford(folder, mask_punctuation=False),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_older_layout(tmp_path: Path, name: str) -> None:
    assert difference(LAYOUTS[name](tmp_path / "model")) <= TOLERANCE
