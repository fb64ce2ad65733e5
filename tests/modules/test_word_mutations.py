"""Deliberate mistakes in word models: the comparison with the reference has to catch each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sentence_transformers.sentence_transformer.modules import (
    CNN,
    LSTM,
    BoW,
    WeightedLayerPooling,
    WordWeights,
)

from fixtures import models
from fixtures.models import Pooling
from fixtures.word_models import WORDS, word_embeddings, write_word_model
from tests.support.words import ATOL, MEANS, WEIGHTS, word_difference
from tf_exporter.modules.bow import config as bow
from tf_exporter.modules.lstm import layer as lstm
from tf_exporter.modules.pooling import layer as pooling
from tf_exporter.modules.weighted_layer_pooling import layer as weighted_layer_pooling
from tf_exporter.modules.word_embeddings import layer as embeddings
from tf_exporter.modules.word_weights import config as word_weights
from tf_exporter.tokenizers import whitespace as words
from tf_exporter.tokenizers.unicode import python_text

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root, written = tmp_path_factory.mktemp("models"), {}
    kinds: dict[str, Callable[[], list[Any]]] = {
        "embeddings": lambda: [word_embeddings(max_seq_length=30), Pooling(32, MEANS)],
        "lower": lambda: [word_embeddings(do_lower_case=True), Pooling(32, MEANS)],
        "bow": lambda: [BoW(WORDS, WEIGHTS, 0.5)],
        "weights": lambda: [
            word_embeddings(),
            WordWeights(WORDS, WEIGHTS, 0.5),
            Pooling(32, MEANS),
        ],
        "cnn": lambda: [word_embeddings(), CNN(32, 8), Pooling(24, MEANS)],
        "lstm": lambda: [word_embeddings(), LSTM(32, 8, 2), Pooling(16, MEANS)],
    }

    def folder(kind: str) -> Path:
        if kind not in written:
            if kind == "layers":
                heads = [WeightedLayerPooling(32, 3, 1), Pooling(32, "mean")]
                written[kind] = models.write_model(
                    root / kind, heads=heads, output_hidden_states=True
                )
            else:
                written[kind] = write_word_model(root / kind, kinds[kind]())
        return written[kind]

    return folder


STRIP, SPLIT, WALK = words.WordTokenizer._strip, words.WordTokenizer._stripped, lstm._Layer.__init__
TAKE = embeddings.WordEmbeddings.__call__
READ = word_weights.read_word_weights


def gates_in_another_order(self: Any, *arguments: Any) -> None:
    WALK(self, *arguments)
    for part in (self.input, self.state, self.bias):
        i, f, g, o = np.split(part.numpy(), 4, axis=-1)
        part.assign(np.concatenate([f, i, g, o], -1))


def one_bias(self: Any, *arguments: Any) -> None:
    WALK(self, *arguments)
    self.bias.assign(self.bias.numpy() * 0.5)


def ids_from_one(self: Any, features: Any) -> Any:
    return TAKE(self, {**features, "input_ids": (features["input_ids"] + 1) % len(WORDS)})


def by_lower_case(file: Any, vocab: list[str], required: bool) -> Any:
    return READ(file, [word.lower() for word in vocab], required=required)


def no_stop_words(source: Any, folder: str) -> Any:
    return replace(words.read_words(source, folder), stop_words=frozenset())


MISTAKES: dict[str, tuple[str, Any, str, Any]] = {
    "nothing stripped": (
        "embeddings",
        words.WordTokenizer,
        "_strip",
        lambda self, codes, span: span,
    ),
    "stripped on the left alone": (
        "embeddings",
        words.WordTokenizer,
        "_strip",
        lambda self, codes, span: STRIP(self, codes, span)._replace(end=span.end),
    ),
    "no second look": (
        "embeddings",
        words.WordTokenizer,
        "_stripped",
        lambda self, codes, span: tf.fill(tf.shape(span.start), -1),
    ),
    "no final sigma": (
        "embeddings",
        python_text.LowerCase,
        "final_sigmas",
        lambda self, codes, inside: codes,
    ),
    "no lower case": ("lower", python_text.LowerCase, "__call__", lambda self, stream: stream),
    "stop words kept": ("embeddings", embeddings, "read_words", no_stop_words),
    "another row": ("embeddings", embeddings.WordEmbeddings, "__call__", ids_from_one),
    "weights of lower case alone": ("weights", word_weights, "read_word_weights", by_lower_case),
    "weights ignored by counts": (
        "bow",
        bow,
        "read_word_weights",
        lambda *a, **b: (1.0,) * len(READ(*a, **b)),
    ),
    "mean by count": (
        "weights",
        pooling,
        "_denominator",
        lambda count, weights_sum: tf.maximum(count, 1e-9),
    ),
    "convolution turned round": (
        "cnn",
        tf.nn,
        "conv1d",
        (lambda conv: lambda x, w, **options: conv(x, w[::-1], **options))(tf.nn.conv1d),
    ),
    "order of gates": ("lstm", lstm._Layer, "__init__", gates_in_another_order),
    "one bias of two": ("lstm", lstm._Layer, "__init__", one_bias),
    "reversed with the padding": (
        "lstm",
        tf,
        "reverse_sequence",
        lambda x, lengths, seq_axis: tf.reverse(x, [seq_axis]),
    ),
    "layers unweighted": (
        "layers",
        weighted_layer_pooling,
        "variable",
        lambda values, name: tf.Variable(np.ones_like(values)),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_caught(
    name: str, folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, owner, attribute, mistake = MISTAKES[name]
    monkeypatch.setattr(owner, attribute, mistake)
    assert shows(folders(kind), kind)


def shows(folder: Path, kind: str) -> bool:
    """Whether a model differs from the reference, or a text alone from the same text in a batch."""
    try:
        return word_difference(folder, leaks=kind == "cnn") > 100 * ATOL
    except AssertionError:
        return True


@pytest.mark.parametrize("kind", ["embeddings", "lower", "bow", "weights", "cnn", "lstm", "layers"])
def test_without_a_mistake(kind: str, folders: Callable[[str], Path]) -> None:
    assert word_difference(folders(kind), leaks=kind == "cnn") <= ATOL
