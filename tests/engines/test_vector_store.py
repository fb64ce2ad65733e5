"""`examples/vector_store.py`: Qdrant orders texts as the model's own `score` does."""

from __future__ import annotations

import importlib.util
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fixtures.multi_vector import MASKS, write_multi_vector
from tests.engines.conftest import MultiVector
from tests.engines.pages import PROJECT
from tf_exporter import convert
from tf_exporter.verification.reference_process import load
from tf_exporter.verification.sample_texts import SENTENCES, words

pytestmark = [pytest.mark.engines, pytest.mark.slow]
PROGRAM = PROJECT / "examples" / "vector_store.py"
TOLERANCE = 1e-4
QUERIES = [
    "how do I renew my library card online?",
    "because each year people work long days",
    "what is good in the world",
    "hello",
    "Die Straße nach Köln",
]
RUN = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
libraries = {"torch", "transformers", "tokenizers", "sentence_transformers", "tf_exporter"}
assert not libraries & sys.modules.keys()
"""
NO_VECTOR = -1e9
"""The score of a document without a vector, in the reference and in ours."""


@pytest.fixture(autouse=True)
def _qdrant() -> None:
    pytest.importorskip(
        "qdrant_client", reason="qdrant_client is not installed; make test-engines does that"
    )


def texts() -> list[str]:
    """400 different texts of one line each, of 1 to 40 words; some are longer than the limit."""
    random_ = random.Random(7)
    lines = [text for text in SENTENCES if len(text.splitlines()) == 1]
    lines += [words(random_, random_.randint(1, 40)) for _ in range(400 - len(lines))]
    lines = list(dict.fromkeys(lines))
    assert len(lines) >= 350
    return lines


TEXTS = texts()


def run(*arguments: object) -> str:
    """Runs the example in a process that must not import a library of the conversion."""
    command = [sys.executable, "-c", RUN, str(PROGRAM), *(str(argument) for argument in arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


def found(out: str) -> list[tuple[list[int], np.ndarray]]:
    """The ids and scores that were printed for each query, in order."""
    parts = re.split(rf"^(?:{'|'.join(map(re.escape, QUERIES))})\n", out, flags=re.MULTILINE)
    result = []
    for part in parts[1:]:
        rows = re.findall(r"^ *(\S+) +(\d+)  (.*)$", part, re.MULTILINE)
        assert len(rows) == part.count("\n")
        assert all(text == TEXTS[int(number)] for _, number, text in rows)
        scores = np.array([float(score) for score, _, _ in rows])
        result.append(([int(number) for _, number, _ in rows], scores))
    return result


def check(ids: list[int], scores: np.ndarray, expected: np.ndarray) -> None:
    """The store has every text that has a vector, in the order and with the scores expected."""
    assert sorted(ids) == np.flatnonzero(expected > NO_VECTOR).tolist()
    assert np.abs(scores - expected[ids]).max() <= TOLERANCE
    # Two scores may be so near that float noise decides.
    assert np.diff(expected[ids]).max() <= TOLERANCE / 10
    assert np.ptp(expected[ids]) >= 100 * TOLERANCE


def ours(folder: Path, queries: list[str]) -> list[np.ndarray]:
    """The scores of all texts by the signature `score`, for each query."""
    score = tf.saved_model.load(str(folder)).signatures["score"]
    documents = tf.constant(TEXTS)
    return [score(query=tf.constant([q]), document=documents)["scores"].numpy() for q in queries]


def theirs(source: Path, queries: list[str]) -> list[np.ndarray]:
    """The scores of all texts by sentence-transformers, for each query."""
    model: Any = load(str(source), "MultiVectorEncoder")
    documents = model.encode_document(TEXTS)
    return [model.similarity(model.encode_query([q]), documents)[0].numpy() for q in queries]


def test_order_and_scores(multi_vector: MultiVector, tmp_path: Path) -> None:
    """All texts, for each query: as by `score`, and as by the reference."""
    (tmp_path / "texts").write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    place = (multi_vector.folder, tmp_path / "store")
    assert run("index", *place, tmp_path / "texts") == f"{len(TEXTS)} texts\n"
    results = found(run("search", *place, *QUERIES, "--limit", len(TEXTS)))
    assert len(results) == len(QUERIES)
    expected = zip(ours(multi_vector.folder, QUERIES), theirs(multi_vector.source, QUERIES))
    for (ids, scores), (by_score, by_reference) in zip(results, expected):
        assert len(ids) == len(TEXTS)
        check(ids, scores, by_score)
        check(ids, scores, by_reference)
    # Other queries have other answers.
    assert len({tuple(ids) for ids, _ in results}) == len(QUERIES)
    [(best, _)] = found(run("search", *place, QUERIES[0]))
    assert best == results[0][0][:5]


@pytest.fixture
def example() -> Any:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("vector_store", PROGRAM)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def client(example: Any) -> Iterator[Any]:
    client = example.QdrantClient(":memory:")
    yield client
    client.close()


def answer(example: Any, client: Any, folder: Path, task: str, query: str) -> Any:
    """The ids and scores of all texts, which are stored with the vectors of a signature."""
    signatures = tf.saved_model.load(str(folder)).signatures
    example.index(signatures[task], client, TEXTS)
    points = example.search(signatures["encode_query"], client, query, len(TEXTS))
    return [point.id for point in points], np.array([point.score for point in points])


def test_texts_without_a_vector(example: Any, client: Any, tmp_path: Path) -> None:
    """They are not in the store. The others have the scores that they should have."""
    source = write_multi_vector(tmp_path / "source", mask=MASKS["some ids"])
    convert(source, tmp_path / "model", verify="off")
    [expected] = ours(tmp_path / "model", QUERIES[:1])
    assert 0 < (expected == NO_VECTOR).sum() < len(TEXTS) / 2
    ids, scores = answer(example, client, tmp_path / "model", "encode_document", QUERIES[0])
    check(ids, scores, expected)
    check(ids, scores, theirs(source, QUERIES[:1])[0])


MISTAKES: dict[str, tuple[str, Callable[[list[Any]], list[Any]]]] = {
    "another task": ("encode_query", lambda rows: rows),
    "a vector less": ("encode_document", lambda rows: rows[:-1]),
    "one vector": ("encode_document", lambda rows: np.mean(rows, 0, keepdims=True).tolist()),
}


@pytest.mark.parametrize("name", ["none", *MISTAKES])
def test_mistakes_are_found(
    name: str, multi_vector: MultiVector, example: Any, client: Any, monkeypatch: Any
) -> None:
    task, change = MISTAKES.get(name, ("encode_document", lambda rows: rows))
    right = example.vectors
    monkeypatch.setattr(
        example, "vectors", lambda encode, texts: [change(rows) for rows in right(encode, texts)]
    )
    ids, scores = answer(example, client, multi_vector.folder, task, QUERIES[1])
    [expected] = ours(multi_vector.folder, QUERIES[1:2])
    if name == "none":
        check(ids, scores, expected)
    else:
        with pytest.raises(AssertionError):
            check(ids, scores, expected)
