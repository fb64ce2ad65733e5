"""Word models, compared with sentence-transformers: WordEmbeddings, BoW and later modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from safetensors.torch import load_file
from sentence_transformers.sentence_transformer.modules import (
    CNN,
    LSTM,
    BoW,
    WeightedLayerPooling,
    WordEmbeddings,
    WordWeights,
)
from transformers import AutoTokenizer

from fixtures import models
from fixtures.models import Dense, Normalize, Pooling, rewrite
from fixtures.word_models import WORDS, word_embeddings, write_word_model
from tests.support.helpers import InProcessReference, build
from tests.support.words import ATOL, MEANS, MODES, TEXTS, WEIGHTS, to_old_names, word_difference
from tf_exporter import convert
from tf_exporter.verification.reference_process import load

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("mode", [*MODES, MODES])
def test_word_embeddings(tmp_path: Path, mode: Any) -> None:
    pooling = Pooling(32, mode)
    assert (
        word_difference(write_word_model(tmp_path / "model", [word_embeddings(), pooling])) <= ATOL
    )


@pytest.mark.parametrize(("saved", "limit"), [(3, None), (None, None), (3, 5), (1_000_000, 2)])
def test_limit(tmp_path: Path, saved: Any, limit: int | None) -> None:
    """The limit counts known words; the user's overrides the model's."""
    folder = write_word_model(
        tmp_path / "model", [word_embeddings(max_seq_length=saved), Pooling(32, MEANS)]
    )
    assert word_difference(folder, max_seq_length=limit) <= ATOL
    assert build(folder, max_seq_length=limit).first.tokenizer_spec.max_length == (
        saved if limit is None else limit
    )


@pytest.mark.parametrize("max_seq_length", [1, 6, None])
def test_tokenizer_of_transformers(tmp_path: Path, max_seq_length: Any) -> None:
    """Its ids are truncated as a list, special tokens included. A written [PAD] is not masked."""
    tokenizer = AutoTokenizer.from_pretrained(
        str(models.write_transformer(tmp_path / "plain", "bert"))
    )
    table = torch.randn(len(models.VOCAB), 32)
    embeddings = WordEmbeddings(tokenizer, table, max_seq_length=max_seq_length)
    folder = write_word_model(tmp_path / "model", [embeddings, Pooling(32, MODES)])
    assert word_difference(folder) <= ATOL
    assert build(folder).first.tokenizer(tf.constant(["hello"])).lengths.numpy().tolist() == [
        min(3, max_seq_length or 3)
    ]


def test_prompt_is_never_left_out(tmp_path: Path) -> None:
    """The reference leaves prompts out of pooling only after a Transformer."""
    folder = write_word_model(
        tmp_path / "model", [word_embeddings(), Pooling(32, "mean", include_prompt=False)]
    )
    assert word_difference(folder, prompt="hello this: ") <= ATOL


def test_words_listed_twice(tmp_path: Path) -> None:
    """Duplicates in the file; the reference saves each word once, which shifts the ids."""
    folder = write_word_model(tmp_path / "model", [word_embeddings(), Pooling(32, MEANS)])
    words = [*WORDS]
    words[3] = "hello"
    rewrite(folder / "whitespacetokenizer_config.json", vocab=words, do_lower_case=True)
    assert word_difference(folder) <= ATOL


@pytest.mark.parametrize("cumulative", [True, False])
@pytest.mark.parametrize(
    ("weights", "unknown"), [({}, 1), (WEIGHTS, 0.1), ({"hello": -3.3, "the": 0}, 0.7)]
)
def test_bow(tmp_path: Path, cumulative: bool, weights: dict[str, float], unknown: float) -> None:
    """Counts or presence; weights by the word or its lower case; duplicates count once."""
    bow = BoW([*WORDS, "", "hello", "x"], weights, unknown, cumulative)
    assert word_difference(write_word_model(tmp_path / "model", [bow])) <= ATOL


def test_modules_after_bow(tmp_path: Path) -> None:
    dense = Dense(len(WORDS), 8, activation_function=torch.nn.Tanh())
    assert (
        word_difference(
            write_word_model(tmp_path / "model", [BoW(WORDS), dense, Normalize()]), prompt="hello "
        )
        <= ATOL
    )


@pytest.mark.parametrize("mode", [*MODES, MODES])
def test_word_weights(tmp_path: Path, mode: Any) -> None:
    """The denominator is the sum of the listed weights, not of the saved tensor."""
    modules = [word_embeddings(), WordWeights([*WORDS, "more"], WEIGHTS, 0.5), Pooling(32, mode)]
    folder = write_word_model(tmp_path / "model", modules)
    assert word_difference(folder) <= ATOL
    saved = load_file(folder / "1_WordWeights/model.safetensors")["emb_layer.weight"]
    assert (saved[1] - 0.25).abs() > 1e-3
    # Earlier versions of sentence-transformers saved no tensor at all.
    (folder / "1_WordWeights/model.safetensors").unlink()
    assert word_difference(folder) <= ATOL


def test_word_weights_of_a_transformer(tmp_path: Path) -> None:
    """A vocabulary as an object, two modules, and a prompt left out of the sum only."""
    vocab = {word: index for index, word in enumerate(models.VOCAB)}
    modules = [
        WordWeights(vocab, WEIGHTS, 0.5),
        WordWeights(models.VOCAB, {"world": 3}),
        Pooling(32, MEANS, include_prompt=False),
    ]
    folder = models.write_model(tmp_path / "model", heads=modules)
    assert word_difference(folder, prompt="hello world ") <= ATOL


@pytest.mark.parametrize("mode", [*MODES, MODES])
def test_cnn(tmp_path: Path, mode: Any) -> None:
    modules = [word_embeddings(), CNN(32, 8, [1, 3, 5]), Pooling(24, mode)]
    assert word_difference(write_word_model(tmp_path / "model", modules), leaks=True) <= ATOL


def test_cnn_after_a_transformer(tmp_path: Path) -> None:
    modules = [CNN(32, 6, [3, 7, 3]), CNN(18, 32, [5]), Pooling(32, ["cls", *MODES])]
    assert (
        word_difference(models.write_model(tmp_path / "model", heads=modules), leaks=True) <= ATOL
    )


def test_padding_leaks_in_the_reference(tmp_path: Path) -> None:
    """Other texts of the batch change the reference's embedding, but never ours."""
    folder = write_word_model(
        tmp_path / "model", [word_embeddings(), CNN(32, 8), Pooling(24, "mean")]
    )
    theirs = load(str(folder), "SentenceTransformer", None, None)
    texts = ["hello world", "hello world " * 9]
    assert np.abs(theirs.encode(texts)[0] - theirs.encode(texts[:1])[0]).max() > 1e-3
    model = build(folder)
    together, alone = (
        model.encode(tf.constant(some), model.signatures["serving_default"])
        for some in (texts, texts[:1])
    )
    assert np.abs(together[0] - alone[0]).max() <= ATOL


@pytest.mark.parametrize(
    ("layers", "bidirectional", "mode"),
    [(1, False, "lasttoken"), (1, True, "mean"), (2, True, MODES), (3, False, MODES)],
)
def test_lstm(tmp_path: Path, layers: int, bidirectional: bool, mode: Any) -> None:
    lstm = LSTM(32, 7, layers, dropout=0.3 if layers > 1 else 0, bidirectional=bidirectional)
    modules = [word_embeddings(), lstm, Pooling(lstm.get_embedding_dimension(), mode)]
    assert word_difference(write_word_model(tmp_path / "model", modules)) <= ATOL


def test_all_modules_in_a_row(tmp_path: Path) -> None:
    modules = [
        word_embeddings(),
        WordWeights(WORDS, WEIGHTS),
        LSTM(32, 8),
        CNN(16, 5, [3]),
        LSTM(5, 4, 2),
        Dense(8, 6, module_input_name="token_embeddings"),
        Pooling(6, MEANS),
        Normalize(),
    ]
    texts = [
        text for text in TEXTS if text and text not in ("the of and ... -", "nothing 999 known")
    ]
    assert word_difference(write_word_model(tmp_path / "model", modules), texts, leaks=True) <= ATOL


def test_old_names(tmp_path: Path) -> None:
    modules = [WordWeights(WORDS, WEIGHTS), LSTM(32, 8), CNN(16, 5), Pooling(15, "mean")]
    folder = to_old_names(write_word_model(tmp_path / "words", [word_embeddings(), *modules]))
    assert word_difference(folder, leaks=True) <= ATOL
    assert (
        word_difference(to_old_names(write_word_model(tmp_path / "bow", [BoW(WORDS, WEIGHTS)])))
        <= ATOL
    )
    heads = [WeightedLayerPooling(32, 3, 1), Pooling(32, "mean")]
    assert (
        word_difference(to_old_names(models.write_model(tmp_path / "layers", heads=heads))) <= ATOL
    )


def test_pickled_weights(tmp_path: Path) -> None:
    folder = write_word_model(tmp_path / "model", [word_embeddings(), Pooling(32, "mean")])
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert word_difference(folder) <= ATOL


@pytest.mark.parametrize("kind", ["mean", "max", "bow", "cnn and lstm"])
def test_conversion(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verified with texts of unknown words only; −∞ where the reference has it."""
    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
    modules = {
        "mean": lambda: [word_embeddings(max_seq_length=20), Pooling(32, "mean")],
        "max": lambda: [word_embeddings(), Pooling(32, ["max", "mean"])],
        "bow": lambda: [BoW(WORDS, WEIGHTS)],
        "cnn and lstm": lambda: [
            word_embeddings(max_seq_length=30),
            CNN(32, 8),
            LSTM(24, 4),
            Pooling(8, "mean"),
        ],
    }[kind]()
    conversion = convert(write_word_model(tmp_path / "model", modules), tmp_path / "out")
    assert conversion.verification["max_abs_difference"] <= ATOL
    graph = tf.saved_model.load(str(tmp_path / "out"))
    result = graph(tf.constant([["hello world"], [""]])).numpy()
    assert (
        result[0].any() and not np.isfinite(result[1]).all()
        if kind == "max"
        else not result[1].any()
    )
    assert graph(tf.constant([], tf.string)).shape[0] == 0
    ids = graph.signatures["tokenize"](tf.constant(["", "Hello, hello 999 world"]))
    capital, hello, world = map(WORDS.index, ("Hello", "hello", "world"))
    assert ids["input_ids"].numpy().tolist() == [[0, 0, 0], [capital, hello, world]]
    assert ids["attention_mask"].numpy().tolist() == [[0, 0, 0], [1, 1, 1]]
    assert graph.signatures["tokenize"](tf.constant([""]))["attention_mask"].numpy().tolist() == [
        [0]
    ]
