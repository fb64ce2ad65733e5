"""The published artifact of the real all-MiniLM-L6-v2, converted by the command line."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.support.helpers import reference
from tests.support.tensorflow_2_12 import unknown_saved
from tf_exporter.artifact.publish import MANIFEST
from tf_exporter.artifact.saved_model import graph_ops
from tf_exporter.verification.sample_texts import SENTENCES, words

MIB = 2**20


@pytest.fixture(scope="module")
def artifact(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifact") / "all-MiniLM-L6-v2"
    started = time.monotonic()
    command = [sys.executable, "-m", "tf_exporter.cli", str(minilm), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    print(result.stdout, f"{time.monotonic() - started:.1f} s")
    return folder


@pytest.fixture(scope="module")
def graph(artifact: Path) -> Any:
    return tf.saved_model.load(str(artifact))


@pytest.fixture(scope="module")
def encode(graph: Any) -> Callable[[Any], np.ndarray]:
    def run(texts: Any) -> np.ndarray:
        answer = graph.signatures["serving_default"](input_sequence=tf.constant(texts, tf.string))
        result: np.ndarray = answer["sentence_embedding"].numpy()
        return result

    return run


def long_texts() -> list[str]:
    """500 texts of 0 to 1,000 words, in many scripts."""
    random_ = random.Random(5)
    counts = [0, 1, 2, 3, 5, 8, 13, 30, 60, 120, 250, 500, 1000]
    texts = [words(random_, counts[index % len(counts)]) for index in range(500 - len(SENTENCES))]
    return texts + list(SENTENCES)


def test_embeddings(encode: Callable[[Any], np.ndarray], minilm: Path) -> None:
    """At most 1e-6 from the reference on 500 texts in mixed batches of 64; 100 also alone."""
    texts = long_texts()
    model = reference(minilm)
    expected = model.encode(texts, batch_size=64)
    mixed = np.concatenate(
        [encode(texts[start : start + 64]) for start in range(0, len(texts), 64)]
    )
    alone = np.concatenate([encode([text]) for text in texts[::5]])
    figures = {
        "mixed": float(np.abs(mixed - expected).max()),
        "alone": float(np.abs(alone - expected[::5]).max()),
        "neighbours": float(np.abs(alone - mixed[::5]).max()),
    }
    print(figures)
    assert max(figures.values()) <= 1e-6, figures


def test_shapes(graph: Any, encode: Callable[[Any], np.ndarray]) -> None:
    flat = encode(["a", "b c"])
    assert flat.dtype == np.float32 and flat.shape == (2, 384)
    assert np.array_equal(encode([["a"], ["b c"]]), flat)
    assert np.array_equal(graph(tf.constant(["a", "b c"])).numpy(), flat)
    assert encode([]).shape == (0, 384)
    for wrong in (tf.constant("a"), tf.constant([["a", "b"]]), tf.constant([[["a"]]])):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=r"must have shape \[batch\] or \[batch, 1\]"
        ):
            graph(wrong)


def test_signatures(graph: Any) -> None:
    assert set(graph.signatures) == {"serving_default", "tokenize"}
    serving = graph.signatures["serving_default"]
    (_, arguments), outputs = serving.structured_input_signature, serving.structured_outputs
    assert {name: (spec.shape.rank, spec.dtype) for name, spec in arguments.items()} == {
        "input_sequence": (None, tf.string)
    }
    assert {name: spec.dtype for name, spec in outputs.items()} == {
        "sentence_embedding": tf.float32
    }
    assert outputs["sentence_embedding"].shape.as_list() == [None, 384]
    tokens = graph.signatures["tokenize"](input_sequence=tf.constant([["hello world"], ["a"]]))
    assert tokens["input_ids"].numpy().tolist() == [[101, 7592, 2088, 102], [101, 1037, 102, 0]]
    assert tokens["attention_mask"].numpy().tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert tokens["input_ids"].dtype == tokens["attention_mask"].dtype == tf.int32


def test_odd_texts(encode: Callable[[Any], np.ndarray], minilm: Path) -> None:
    raw = [
        b"",
        b"\x00",
        b"a\x00b",
        b"caf\xe9",
        b"\xff\xfe\xfd",
        b"\xed\xa0\x80",
        b"\xf0\x9f",
        b" ",
        b"\n",
        b"x" * MIB,
        b"hi " * 350_000,
    ]
    expected = reference(minilm).encode([text.decode("utf-8", errors="replace") for text in raw])
    assert np.abs(encode(raw) - expected).max() <= 1e-6


@pytest.mark.slow
def test_ten_thousand_texts(encode: Callable[[Any], np.ndarray]) -> None:
    random_ = random.Random(1)
    texts = [words(random_, random_.randint(1, 8)) for _ in range(9_999)] + [words(random_, 300)]
    many = encode(texts)
    assert many.shape == (10_000, 384)
    sample = [0, 1, 17, 4_999, 9_998, 9_999]
    assert np.abs(many[sample] - encode([texts[index] for index in sample])).max() <= 1e-6


def test_stock_ops_of_old_tensorflow(artifact: Path) -> None:
    """TensorFlow 2.12 registers every op of the file and its attributes."""
    assert unknown_saved(artifact) == set()
    assert "UnicodeDecode" in graph_ops(artifact)


def test_size(artifact: Path, minilm: Path) -> None:
    total = sum(path.stat().st_size for path in artifact.rglob("*") if path.is_file())
    assert total <= (minilm / "model.safetensors").stat().st_size + 8 * MIB


FRESH = """
import sys
import tensorflow as tf
graph = tf.saved_model.load(sys.argv[1])
graph.signatures["serving_default"](input_sequence=tf.constant([["This is a test"]]))
others = {"tensorflow_text", "transformers", "tokenizers", "torch"}
others |= {"tf_exporter", "sentence_transformers"}
print(graph(["This is a test"]).shape, sorted(others & set(sys.modules)))
"""


def test_fresh_process_with_tensorflow_alone(artifact: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", FRESH, artifact],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "(1, 384) []\n"


def test_manifest(artifact: Path, minilm: Path) -> None:
    manifest = json.loads((artifact / MANIFEST).read_text())
    assert manifest["modules"] == ["Transformer", "Pooling", "Normalize"]
    assert manifest["pooling"] == [["mean"]]
    assert (manifest["dimension"], manifest["max_seq_length"]) == (384, 256)
    assert manifest["signatures"] == {"serving_default": "", "tokenize": None}
    assert manifest["custom_ops"] == []
    assert manifest["ops"] == graph_ops(artifact)
    assert manifest["verification"]["embedding_texts"] > 300
    assert manifest["verification"]["max_abs_difference"] <= 1e-6
    import hashlib

    for name in ("model.safetensors", "modules.json", "tokenizer.json", "1_Pooling/config.json"):
        assert manifest["sha256"][name] == hashlib.sha256((minilm / name).read_bytes()).hexdigest()
    card = (artifact / "README.md").read_text()
    assert "serving_default" in card and "max abs difference" in card


def test_longest_of_its_own_batch(graph: Any) -> None:
    """Texts are padded to the longest of the batch, never to the maximum length."""
    tokens = graph.signatures["tokenize"](input_sequence=tf.constant(["a b c", "a"]))
    assert tokens["input_ids"].shape == [2, 5]
