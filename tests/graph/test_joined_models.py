"""`--request-batching` for each kind of model, and texts that are errors of their own call."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fixtures import heads, models
from fixtures.hybrid import write_hybrid
from fixtures.models import rewrite
from fixtures.multi_vector import write_multi_vector
from tests.exports.test_classifier import write as write_classifier
from tests.support.callers import at_once, warm_up
from tf_exporter import UsageError, convert

NEW = "[NEW]"
OPTIONS: dict[str, Any] = {
    "request_batching": True,
    "request_batch_size": 16,
    "request_batch_timeout": 20_000,
    "verify": "off",
}
TEXTS = [*models.texts(0, 20), "", "a"]


def both(source: Path, place: Path, **options: Any) -> tuple[Any, Any]:
    """A model without and with the option, loaded."""
    convert(source, place / "plain", verify="off", **options)
    convert(source, place / "joined", **OPTIONS, **options)
    return tuple(tf.saved_model.load(str(place / name)) for name in ("plain", "joined"))


def check_outputs(plain: Any, joined: Any, *sides: list[str]) -> None:
    """Calls of one to three texts give what they give by themselves: shapes, ids and values."""
    calls = [
        {name: tf.constant(side[start : start + 1 + start % 3]) for name, side in sides_of(sides)}
        for start in range(len(sides[0]))
    ]
    for count in (1, 16):  # prepares all paths, as each thread would do it
        joined(**{name: tf.constant(side[:count]) for name, side in sides_of(sides)})
    results = at_once([partial(joined, **texts) for texts in calls])
    for texts, found in zip(calls, results):
        expected = plain(**texts)
        assert found.keys() == expected.keys()
        for name, rows in expected.items():
            assert found[name].shape == rows.shape, name
            difference = found[name].numpy() - rows.numpy()
            allowed = 0 if rows.dtype == tf.int32 else 1e-5
            assert np.abs(difference).max(initial=0) <= allowed, name


def sides_of(sides: tuple[list[str], ...]) -> list[tuple[str, list[str]]]:
    return list(zip(("input_sequence", "pair_sequence"), sides))


def test_pairs(tmp_path: Path) -> None:
    plain, joined = both(heads.write_saved_cross_encoder(tmp_path / "model"), tmp_path)
    names = "serving_default"
    check_outputs(plain.signatures[names], joined.signatures[names], TEXTS, TEXTS[::-1])
    expected = plain(tf.constant(["a"]), tf.constant(["b"])).numpy()
    warm_up(lambda texts: joined(texts, texts))
    results = at_once(
        [
            partial(joined, tf.constant(["a"]), tf.constant(["b"] * (1 + caller % 2)))
            for caller in range(32)
        ]
    )
    for caller, result in enumerate(results):
        if caller % 2:
            assert "must have the same length" in result.message
        else:
            assert np.abs(result.numpy() - expected).max() <= 1e-5


@pytest.mark.slow
def test_several_vectors(tmp_path: Path) -> None:
    """Each call gets as many places as its own longest text needs, and `score` is as before."""
    source = write_multi_vector(tmp_path / "model", prompts={"query": "q: ", "document": "d: "})
    plain, joined = both(source, tmp_path)
    check_outputs(plain.signatures["encode_query"], joined.signatures["encode_query"], TEXTS)
    calls = [
        {"query": tf.constant([text]), "document": tf.constant(TEXTS[:5])} for text in TEXTS[:8]
    ]
    joined.signatures["score"](**calls[0])
    results = at_once([partial(joined.signatures["score"], **call) for call in calls])
    for call, found in zip(calls, results):
        expected = plain.signatures["score"](**call)["scores"].numpy()
        assert np.abs(found["scores"].numpy() - expected).max() <= 1e-5


def test_sparse(tmp_path: Path) -> None:
    """Indices and weights are padded to the largest number of this call."""
    plain, joined = both(heads.write_sparse_encoder(tmp_path / "model"), tmp_path)
    check_outputs(plain.signatures["encode_sparse"], joined.signatures["encode_sparse"], TEXTS)


@pytest.mark.slow
def test_three_heads(tmp_path: Path) -> None:
    plain, joined = both(write_hybrid(tmp_path / "model"), tmp_path)
    for name in ("serving_default", "encode_all"):
        check_outputs(plain.signatures[name], joined.signatures[name], TEXTS)


def check_errors(function: Any, bad: str, *words: str) -> None:
    """Every second caller has a bad text, and the others get what they get by themselves."""
    warm_up(function)
    good = function(tf.constant(["hello"]))
    texts = [["hello"], [bad], ["hello", "world"], ["hello", bad]] * 8
    results = at_once([partial(function, tf.constant(own)) for own in texts])
    for own, result in zip(texts, results):
        if bad in own:
            assert isinstance(result, tf.errors.InvalidArgumentError), own
            assert all(word in result.message for word in words)
        else:
            for found, expected in zip(tf.nest.flatten(result), tf.nest.flatten(good)):
                if expected.dtype == tf.float32:
                    assert np.abs(found[0].numpy() - expected[0].numpy()).max() <= 1e-5


@pytest.mark.slow
def test_a_token_without_a_row(tmp_path: Path) -> None:
    """The error is that of the graph without the option, for the caller with the token alone."""
    source = models.write_model(tmp_path / "model", max_seq_length=8)
    rewrite(source / "tokenizer_config.json", extra_special_tokens=[NEW])
    plain, joined = both(source, tmp_path)
    check_errors(joined, f"hello {NEW}", "no embedding", f"[{len(models.VOCAB)}]", NEW)
    with pytest.raises(tf.errors.InvalidArgumentError, match="no embedding"):
        joined(tf.constant([NEW] * 20))  # too many texts for the queue
    # Truncated tokens need no row.
    texts = tf.constant([f"{'hello ' * 6}{NEW}", "world"])
    assert np.abs(joined(texts).numpy() - plain(texts).numpy()).max() <= 1e-5
    assert joined(tf.constant([], tf.string)).shape == [0, 32]


@pytest.mark.parametrize("sentences", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_text_that_cannot_be_classified(sentences: int, tmp_path: Path) -> None:
    source = write_classifier(tmp_path / "model", "qwen2", pad_token_id=0)
    plain, joined = both(source, tmp_path, export_type="classifier", sentences=sentences)
    if sentences == 1:
        check_errors(joined, "", "a text without any token cannot be classified")
    names = ["sentence1", "sentence2"][:sentences]
    texts = [text for text in TEXTS if text]
    for text in texts:
        call = {name: tf.constant([text]) for name in names}
        expected, found = (graph.signatures["serving_default"](**call) for graph in (plain, joined))
        assert np.abs(found["logits"].numpy() - expected["logits"].numpy()).max() <= 1e-5
        assert found["class"].numpy() == expected["class"].numpy()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"request_batch_size": 64}, "--request-batch-size: only together with --request-batching"),
        ({"request_batch_timeout": 0}, "--request-batch-timeout: only together"),
        ({"request_batch_threads": 1}, "--request-batch-threads: only together"),
        ({**OPTIONS, "request_batch_size": 0}, "--request-batch-size 0: a positive number"),
        ({**OPTIONS, "request_batch_timeout": -1}, "--request-batch-timeout -1: a number of 0"),
        ({**OPTIONS, "batch_size": 4}, "--request-batching: not with --batch-size 4"),
        ({**OPTIONS, "serving": "triton"}, "--request-batching: not with --serving triton"),
        ({**OPTIONS, "serving": "triton-tensorflow"}, "as Triton joins requests itself"),
        ({"request_batching": True, "export_type": "encoder"}, "--request-batching: only for"),
        ({"request_batching": True, "export_type": "preprocessing"}, "--request-batching: only"),
    ],
)
def test_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        convert(tmp_path / "no model", tmp_path / "out", **options)
    assert message in str(error.value)
