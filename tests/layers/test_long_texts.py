"""Attention over long texts in blocks, compared with whole matrices and sentence-transformers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fixtures import models
from fixtures.jina_bert import embeddings as jina_bert_embeddings
from fixtures.jina_bert import write_jina_bert
from fixtures.models import Pooling, rewrite
from fixtures.nomic_bert_moe import embeddings as experts_embeddings
from fixtures.nomic_bert_moe import write_nomic_bert_moe
from tests.support.helpers import LEAKING, build, embed, reference
from tf_exporter.architectures.registry import VERIFIED
from tf_exporter.graph.text_model import TextModel
from tf_exporter.layers import long_texts, small_batch
from tf_exporter.layers.attention import Bias, biases_by_type
from tf_exporter.layers.long_texts import LONG, ByDistance, LongBias, attend_in_blocks

ATOL = 1e-5
HEADS, SIZE = 4, 6


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes blocks so small that short texts have several: 5 queries of all heads, or 16 of one."""
    monkeypatch.setattr(long_texts, "_SCORES", 600)
    monkeypatch.setattr(long_texts, "_LOCAL_BLOCK", 8)
    monkeypatch.setattr(long_texts, "_NARROW", 7)


def draw(seed: int, *shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).standard_normal(shape), tf.float32)


def mask(length: int, side: str) -> tf.Tensor:
    """The attention mask of three texts, two of which are shorter."""
    rows = [[0] * missing + [1] * (length - missing) for missing in (0, length // 3, length - 1)]
    return tf.constant([row if side == "left" else row[::-1] for row in rows])


def largest_difference(
    bias: LongBias, whole: tf.Tensor, present: tf.Tensor, groups: int = HEADS, times: float = 1.0
) -> float:
    """The largest difference between attention in blocks and whole matrices, over real tokens.

    `times` scales the scores.
    """
    length = present.shape[1]
    query, key, value = (
        draw(seed, 3, heads, length, SIZE) for seed, heads in ((0, HEADS), (1, groups), (2, groups))
    )
    # Multiples of a quarter, so that float32 holds large scores exactly.
    query, key = tf.round(query * 4) / 4 * times, tf.round(key * 4) / 4
    result = attend_in_blocks(query, key, value, bias, 0.5)
    key, value = (tf.repeat(x, HEADS // groups, axis=1) for x in (key, value))
    expected = small_batch.attend(query, key, value, whole, 0.5)
    of_tokens = tf.cast(present, tf.float32)[:, tf.newaxis, :, tf.newaxis]
    assert result.shape == expected.shape
    return float(tf.reduce_max(tf.abs(result - expected) * of_tokens))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("groups", [HEADS, 2, 1])
@pytest.mark.parametrize("causal", [False, True])
def test_windows(causal: bool, groups: int) -> None:
    """Windows narrower and wider than a block or the text; texts of a full block, and ±1 token."""
    for length in (1, 15, 16, 17, 33):
        for window in (1, 7, 8, 40):
            present = mask(length, "left" if length % 2 else "right")
            whole, blocks = (
                biases_by_type(present, causal, window, long) for long in (False, True)
            )
            for name in whole:
                bias = blocks[name]
                assert isinstance(bias, LongBias)
                assert largest_difference(bias, whole[name], present, groups) <= ATOL, (
                    length,
                    window,
                    name,
                )


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("window", [None, 3, 40])
@pytest.mark.parametrize("causal", [False, True])
def test_scores_of_any_size(causal: bool, window: int | None) -> None:
    """Scores whose exponentials overflow unless the maximum is subtracted, and scores where not."""
    present = mask(33, "right")
    whole, blocks = (
        biases_by_type(present, causal, window, long)["full_attention"] for long in (False, True)
    )
    assert isinstance(blocks, LongBias)
    for times in (1.0, 5.0, 20.0):
        assert largest_difference(blocks, whole, present, times=times) <= ATOL, times


@pytest.mark.usefixtures("small_blocks")
def test_infinite_exponentials_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_texts, "_BOUNDED", 1e9)
    present = mask(33, "right")
    whole, blocks = (
        biases_by_type(present, False, None, long)["full_attention"] for long in (False, True)
    )
    assert isinstance(blocks, LongBias)
    assert not largest_difference(blocks, whole, present, times=20.0) <= ATOL


@pytest.mark.usefixtures("small_blocks")
def test_distances() -> None:
    for length in (1, 2, 25, 37):
        present = mask(length, "right")
        values = draw(3, HEADS, 2 * length - 1)
        places = np.arange(length)
        by_place = tf.gather(
            values, places[np.newaxis, :] - places[:, np.newaxis] + length - 1, axis=1
        )[tf.newaxis]
        bias = biases_by_type(present, False, None, long=True)["full_attention"]
        assert isinstance(bias, LongBias)
        whole = by_place + biases_by_type(present, False, None)["full_attention"]
        assert (
            largest_difference(LongBias(bias.padding, relative=ByDistance(values)), whole, present)
            <= ATOL
        )


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("softcap", [0.5, 50.0, 80.0])
@pytest.mark.parametrize("times", [1.0, 20.0])
def test_soft_capped(softcap: float, times: float) -> None:
    """Bounds below and above the size up to which no maximum is subtracted; large scores.

    float32 rounds large scores so that the formula itself is up to 2e-5 off, more on some
    processors. So both are measured from float64.
    """

    def plain(dtype: tf.DType, bias: tf.Tensor) -> tf.Tensor:
        query, key, value, mask_ = (tf.cast(x, dtype) for x in (*drawn, bias))
        scores = tf.matmul(query * times, key, transpose_b=True) * 0.5
        capped = tf.tanh(scores / softcap) * softcap + mask_
        return tf.cast(tf.matmul(tf.nn.softmax(capped), value), tf.float64)

    drawn = tuple(draw(seed, 3, HEADS, 33, SIZE) for seed in range(3))
    present = mask(33, "right")
    for causal, window in ((False, None), (True, None), (True, 3), (False, 40)):
        whole, blocks = (biases_by_type(present, causal, window, long) for long in (False, True))
        for name, bias in blocks.items():
            if name not in whole:
                continue
            assert isinstance(bias, LongBias)
            query, key, value = drawn
            result = attend_in_blocks(query * times, key, value, bias, 0.5, softcap)
            of_tokens = tf.cast(present, tf.float64)[:, tf.newaxis, :, tf.newaxis]
            ours, formula = (
                float(tf.reduce_max(tf.abs(own - plain(tf.float64, whole[name])) * of_tokens))
                for own in (tf.cast(result, tf.float64), plain(tf.float32, whole[name]))
            )
            assert formula <= 5e-5
            assert ours <= ATOL + formula, name


MISTAKES: dict[str, tuple[Any, str, Any]] = {
    "window one less": (
        LongBias,
        "hidden",
        lambda original: (
            lambda self, queries, keys: original(
                LongBias(self.padding, self.causal, self.window - 1 if self.window else None),
                queries,
                keys,
            )
        ),
    ),
    "window one more": (
        LongBias,
        "hidden",
        lambda original: (
            lambda self, queries, keys: original(
                LongBias(self.padding, self.causal, self.window + 1 if self.window else None),
                queries,
                keys,
            )
        ),
    ),
    "first key one later": (
        LongBias,
        "seen",
        lambda original: (
            lambda self, *places: (original(self, *places)[0] + 1, original(self, *places)[1])
        ),
    ),
    "last key missing": (
        LongBias,
        "seen",
        lambda original: (
            lambda self, *places: (original(self, *places)[0], original(self, *places)[1] - 1)
        ),
    ),
    "not causal": (
        LongBias,
        "hidden",
        lambda original: (
            lambda self, queries, keys: original(
                LongBias(self.padding, False, self.window), queries, keys
            )
        ),
    ),
}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, function, wrong = MISTAKES[name]
    present = mask(33, "left")
    whole = biases_by_type(present, True, 5)["sliding_attention"]
    bias = biases_by_type(present, True, 5, long=True)["sliding_attention"]
    assert isinstance(bias, LongBias)
    assert largest_difference(bias, whole, present) <= ATOL
    monkeypatch.setattr(owner, function, wrong(getattr(owner, function)))
    assert largest_difference(bias, whole, present) > 1e-3


def test_gradients() -> None:
    """Fine-tuning an encoder may need these gradients."""
    present = mask(9, "right")
    bias = biases_by_type(present, True, 3, long=True)["sliding_attention"]
    whole = biases_by_type(present, True, 3)["sliding_attention"]
    inputs = [draw(seed, 3, HEADS, 9, SIZE) for seed in range(3)]

    def gradients(some_bias: Bias) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            result = (
                small_batch.attend(inputs[0], inputs[1], inputs[2], some_bias, 0.7)
                * tf.cast(present, tf.float32)[:, tf.newaxis, :, tf.newaxis]
            )
        return tape.gradient(result, inputs)

    for result, expected in zip(gradients(bias), tf.function(gradients)(whole)):
        assert np.abs(result - expected).max() <= ATOL


def operations(model: TextModel) -> Iterator[str]:
    """The op types of the whole graph."""
    texts = tf.TensorSpec([None], tf.string)
    signature = next(iter(model.signatures.values()))
    function = tf.function(
        lambda texts: model.encode(texts, signature), input_signature=[texts], autograph=False
    )
    graph = function.get_concrete_function().graph.as_graph_def()
    yield from (node.op for node in graph.node)
    yield from (node.op for function in graph.library.function for node in function.node_def)


def test_only_models_of_long_texts_have_blocks(tmp_path: Path) -> None:
    """The graphs of other models keep their number of operations."""
    folder = models.write_model(
        tmp_path / "model", max_seq_length=LONG, max_position_embeddings=LONG + 8
    )
    short, long = (
        [*operations(build(folder))],
        [*operations(build(folder, max_seq_length=LONG + 1))],
    )
    layers = 3
    assert short.count("Softmax") == layers and short.count("LogSoftmax") == layers
    assert "TensorListConcatV2" not in short and long.count("TensorListConcatV2") == 2 * layers
    assert {kind: long.count(kind) - short.count(kind) for kind in ("Softmax", "LogSoftmax")} == {
        "Softmax": 0,
        "LogSoftmax": 0,
    }


def long_words(lengths: list[int]) -> list[str]:
    random_ = random.Random(0)
    words = [word for word in models.VOCAB if word.isalpha() and len(word) > 1]
    return [" ".join(random_.choice(words) for _ in range(length)) for length in lengths]


MOST = 1600
LENGTHS = [LONG - 3, LONG - 2, LONG - 1, 5, 600, 1500, 900, 641, 40]
POOLINGS = ["mean", "max", "cls", "lasttoken"]
"""The last two see single tokens; a mean would hide errors at the edge of a block."""
WITHOUT_LIMIT = ("t5", "mt5", "umt5", "xlnet")


def write_long(folder: Path, model_type: str, **changes: Any) -> Path:
    limits: dict[str, Any] = (
        {} if model_type in WITHOUT_LIMIT else {"max_position_embeddings": MOST + 2}
    )
    return models.write_model(
        folder, model_type, [Pooling(32, POOLINGS)], max_seq_length=MOST, **limits, **changes
    )


def long_difference(folder: Path, texts: list[str], batch_size: int = 32) -> float:
    """The largest difference from the reference, relative to embeddings with values above 1.

    Several texts share a micro-batch.
    """
    result = embed(build(folder, micro_batch_tokens=2000), texts)
    expected = reference(folder).encode(texts, batch_size=batch_size)
    return float((np.abs(result - expected).max(1) / np.maximum(1, np.abs(expected).max(1))).max())


@pytest.mark.parametrize(
    "model_type",
    [pytest.param(name, marks=[pytest.mark.slow] * (name != "modernbert")) for name in VERIFIED],
)
def test_long_texts(model_type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every architecture, with blocks that are shorter than a text."""
    monkeypatch.setattr(long_texts, "_SCORES", 2**17)
    folder = write_long(tmp_path / "model", model_type)
    texts = long_words(LENGTHS)
    assert long_difference(folder, texts, 1 if model_type in LEAKING else 32) <= ATOL


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        ("modernbert", {"local_attention": 300}),
        ("gemma3_text", {"use_bidirectional_attention": False, "sliding_window": 600}),
        ("gemma3_text", {"use_bidirectional_attention": True}),
        ("qwen2", {"sliding_window": 1200}),
        ("qwen3", {"use_sliding_window": False}),
        ("gemma2", {"sliding_window": 600}),
        ("phi3", {"sliding_window": 700}),
        ("deberta-v2", {"position_biased_input": False, "pos_att_type": ["p2c"]}),
        ("t5", {}),
    ],
    ids=str,
)
def test_long_texts_padded_on_the_left(
    model_type: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    folder = write_long(tmp_path / "model", model_type, **changes)
    rewrite(folder / "tokenizer_config.json", padding_side="left")
    assert long_difference(folder, long_words(LENGTHS)) <= ATOL


@pytest.mark.slow
def test_long_texts_of_jina_bert(tmp_path: Path) -> None:
    for code in (False, True):
        folder = write_jina_bert(tmp_path / f"model {code}", code)
        texts = long_words([600, 700])
        model = build(folder, max_seq_length=MOST, micro_batch_tokens=2000)
        assert (
            np.abs(embed(model, texts) - jina_bert_embeddings(folder, texts, MOST).numpy()).max()
            <= ATOL
        )


@pytest.mark.slow
def test_long_texts_of_experts(tmp_path: Path) -> None:
    """Each part of a long text is routed by itself."""
    folder = write_nomic_bert_moe(tmp_path / "model")
    texts = long_words([600, 1100])
    model = build(folder, max_seq_length=MOST, micro_batch_tokens=2000)
    assert (
        np.abs(embed(model, texts) - experts_embeddings(folder, texts, MOST).numpy()).max() <= ATOL
    )
