"""Word models that are refused, and the inputs on which the reference itself fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.sentence_transformer.modules import CNN, LSTM, BoW, WordWeights

from fixtures import models
from fixtures.models import Pooling, rewrite
from fixtures.word_models import WORDS, word_embeddings, write_word_model
from tests.support.refusals import refused
from tests.support.words import ATOL, WEIGHTS
from tf_exporter import UnsupportedError, UsageError, VerificationError
from tf_exporter.errors import InputError, WeightsError
from tf_exporter.verification.outputs import compare
from tf_exporter.verification.reference_process import load
from tf_exporter.verification.tolerances import of_embeddings

pytestmark = pytest.mark.slow


def test_infinities_are_compared() -> None:
    ours, texts = np.array([[-np.inf, 1.0], [1.0, 2.0]], np.float32), ["a", "b"]
    assert compare("x", ours, ours, of_embeddings("float32", ATOL), texts)[0] == 0
    for wrong in (0.0, np.inf, np.nan):
        theirs = np.array([[wrong, 1.0], [1.0, 2.0]], np.float32)
        with pytest.raises(VerificationError):
            compare("x", ours, theirs, of_embeddings("float32", ATOL), texts)


def test_refusals_of_word_embeddings(tmp_path: Path) -> None:
    folder = write_word_model(tmp_path / "model", [word_embeddings(), Pooling(32, "mean")])
    name = folder / "wordembedding_config.json"
    for key, value in (
        ("max_seq_length", 0),
        ("max_seq_length", 2.5),
        (
            "tokenizer_class",
            "sentence_transformers.models.tokenizer.PhraseTokenizer.PhraseTokenizer",
        ),
        ("tokenizer_class", "my_code.WhitespaceTokenizer"),
        ("unknown_key", 1),
    ):
        kept = name.read_text()
        rewrite(name, **{key: value})
        refused(folder, UnsupportedError, "wordembedding_config.json", key)
        name.write_text(kept)
    refused(
        folder,
        UnsupportedError,
        "--tokenizer-ops",
        "WhitespaceTokenizer",
        tokenizer_ops="tensorflow-text",
    )
    rewrite(folder / "1_Pooling/config.json", pooling_mode=["mean", "cls"])
    refused(folder, UnsupportedError, "1_Pooling/config.json", "cls")
    rewrite(folder / "1_Pooling/config.json", pooling_mode="mean")
    rewrite(folder / "config_sentence_transformers.json", model_type="CrossEncoder")
    refused(folder, UnsupportedError, "modules.json", "WordEmbeddings")
    rewrite(folder / "config_sentence_transformers.json", model_type="SentenceTransformer")
    words = folder / "whitespacetokenizer_config.json"
    kept = words.read_text()
    for changes, kind in (
        ({"vocab": [*WORDS, "more"]}, UnsupportedError),
        ({"vocab": [1]}, UnsupportedError),
        ({"vocab": "hello"}, UnsupportedError),
        ({"stop_words": "absent"}, InputError),
        ({"stop_words": None}, UnsupportedError),
        ({"do_lower_case": 1}, UnsupportedError),
        ({"other": 1}, UnsupportedError),
    ):
        rewrite(words, **changes)
        refused(
            folder,
            kind,
            "emb_layer" if "more" in str(changes) else "whitespacetokenizer_config.json",
        )
        words.write_text(kept)
    words.unlink()
    refused(folder, InputError, "whitespacetokenizer_config.json")
    words.write_text(kept)
    save_file(
        {**load_file(folder / "model.safetensors"), "more": torch.zeros(1)},
        folder / "model.safetensors",
    )
    refused(folder, WeightsError, "more")


def test_the_reference_fails_after_word_embeddings(tmp_path: Path) -> None:
    """The reason why these models are refused."""
    folder = write_word_model(tmp_path / "cls", [word_embeddings(), Pooling(32, "cls")])
    with pytest.raises(TypeError):
        load(str(folder), "SentenceTransformer", None, None).encode("hello")
    refused(folder, UnsupportedError, "pooling_mode", "cls")
    folder = models.write_model(tmp_path / "lstm", heads=[LSTM(32, 8), Pooling(16, "mean")])
    with pytest.raises(KeyError):
        load(str(folder), "SentenceTransformer", None, None).encode("hello")
    refused(folder, UnsupportedError, "1_LSTM/lstm_config.json", "WordEmbeddings")
    folder = write_word_model(
        tmp_path / "even", [word_embeddings(), CNN(32, 8, [2]), Pooling(8, "mean")]
    )
    with pytest.raises(RuntimeError):
        load(str(folder), "SentenceTransformer", None, None).encode("hello")
    refused(folder, UnsupportedError, "1_CNN/cnn_config.json", "kernel_sizes")


def test_refusals_of_bow(tmp_path: Path) -> None:
    folder = write_word_model(tmp_path / "model", [BoW(WORDS, WEIGHTS)])
    refused(folder, UsageError, "--max-seq-length", max_seq_length=8)
    refused(folder, UnsupportedError, "--tokenizer-ops", tokenizer_ops="tensorflow-text")
    name = folder / "0_BoW/config.json"
    kept = name.read_text()
    for key, value in (
        ("vocab", []),
        ("vocab", [None]),
        ("word_weights", {"hello": "1"}),
        ("word_weights", {"hello": float("nan")}),
        ("word_weights", {"hello": True}),
        ("unknown_word_weight", 1e39),
        ("unknown_word_weight", None),
        ("cumulative_term_frequency", 1),
        ("more", 1),
    ):
        rewrite(name, **{key: value})
        refused(folder, UnsupportedError, "0_BoW/config.json", key)
        name.write_text(kept)
    folder = write_word_model(tmp_path / "pooled", [BoW(WORDS), Pooling(len(WORDS), "mean")])
    refused(folder, UnsupportedError, "1_Pooling/config.json", "token_embeddings")


BROKEN: list[tuple[str, Any, Any]] = [
    ("cnn_config.json", "kernel_sizes", [1, 4, 5]),
    ("cnn_config.json", "kernel_sizes", []),
    ("cnn_config.json", "kernel_sizes", [True, 3, 5]),
    ("cnn_config.json", "stride_sizes", [1, 2, 1]),
    ("cnn_config.json", "stride_sizes", [1, 1]),
    ("cnn_config.json", "in_embedding_dimension", 31),
    ("cnn_config.json", "more", 1),
    ("lstm_config.json", "embedding_dimension", 31),
    ("lstm_config.json", "hidden_dim", 0),
    ("lstm_config.json", "num_layers", 0),
    ("lstm_config.json", "bidirectional", 1),
    ("lstm_config.json", "more", 1),
    ("1_WordWeights/config.json", "vocab", WORDS[:-1]),
    ("1_WordWeights/config.json", "word_weights", None),
    ("1_WordWeights/config.json", "more", 1),
]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    modules = [
        word_embeddings(),
        WordWeights(WORDS, WEIGHTS),
        LSTM(32, 8),
        CNN(16, 5),
        Pooling(15, "mean"),
    ]
    return write_word_model(tmp_path_factory.mktemp("chain") / "model", modules)


@pytest.mark.parametrize(("name", "key", "value"), BROKEN, ids=str)
def test_refused_config(chain: Path, name: str, key: str, value: Any) -> None:
    path = next(path for path in chain.rglob("*config.json") if str(path).endswith(name))
    kept = path.read_text()
    rewrite(path, **{key: value})
    refused(chain, UnsupportedError, name, key)
    path.write_text(kept)


HOSTILE: list[tuple[str, dict[str, Any]]] = [
    ("cnn_config.json", {"out_channels": 10**12}),
    ("cnn_config.json", {"kernel_sizes": [10**12 + 1], "stride_sizes": None}),
    ("lstm_config.json", {"num_layers": 10**12}),
]


@pytest.mark.parametrize(("name", "changes"), HOSTILE, ids=str)
def test_hostile_config(chain: Path, name: str, changes: dict[str, Any]) -> None:
    """The checkpoint's shapes refuse the sizes before anything that large is allocated."""
    path = next(path for path in chain.rglob("*config.json") if path.name == name)
    kept = path.read_text()
    rewrite(path, **changes)
    refused(chain, WeightsError, "tensor")
    path.write_text(kept)
