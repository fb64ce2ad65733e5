"""Comparison of an encoder's outputs with those of transformers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_exporter.model.untyped import SavedObject
from tf_exporter.names import (
    DEFAULT_OUTPUT,
    ENCODER_INPUTS,
    LAYERS,
    MASK,
    MLM_LOGITS,
    POOLED,
    POSITIONS,
    SEQUENCE,
    TYPE_IDS,
    WORD_IDS,
)
from tf_exporter.verification.costs import Cost
from tf_exporter.verification.outputs import Difference, compare
from tf_exporter.verification.plans import allowed_seconds
from tf_exporter.verification.reference import Answer, Arrays, IdsJob
from tf_exporter.verification.tolerances import Tolerance

LOGITS_DIFFERENCE = 1e-4
"""The largest difference of a token's logits, which are sums of many products."""
_BATCHES = 4
_ROWS = (1, 4)
"""The numbers of texts in a batch, in turn, unless the model has a fixed number."""
_LONGEST = 128
_EQUAL = Tolerance(0.0)
_MASKED = 5
"""The number of positions of each row for which the masked language model gives logits."""


def sample_inputs(
    vocab_size: int,
    types: int,
    most: int | None,
    batch: int | None,
    length: int | None,
    most_tokens: int,
) -> list[Arrays]:
    """Batches of random token ids, some of them padded: input name → int32 [batch, length].

    Args:
        vocab_size: token ids are below it.
        types: the number of segment ids.
        most: the longest input of the model; None: any length.
        batch: the fixed batch size, if any.
        length: the fixed length, if any.
        most_tokens: the tokens of all batches; there may be more where few batches are possible.
    """
    random_ = np.random.default_rng(7)
    longest = min(most or _LONGEST, _LONGEST) if length is None else length
    batches = []
    least = len(_ROWS) if batch is None else 1
    affordable = most_tokens // ((batch or max(_ROWS)) * longest)
    for number in range(max(least, min(_BATCHES, affordable))):
        size = (
            longest
            if number == 0
            else int(random_.integers(1, longest + 1))
            if length is None
            else length
        )
        shape = (batch or _ROWS[number % 2], size)
        present = random_.integers(1, size + 1, shape[0])
        present[0] = size
        mask = np.arange(size) < present[:, np.newaxis]
        second = random_.integers(1, size + 1, shape[0])[:, np.newaxis] <= np.arange(size)
        ids = random_.integers(0, vocab_size, shape)
        segments = second & mask if types > 1 else np.zeros(shape)
        batches.append(
            {
                name: array.astype(np.int32)
                for name, array in zip(ENCODER_INPUTS, (ids, mask, segments))
            }
        )
    return batches


def jobs_of(batches: Sequence[Arrays], has_types: bool, has_head: bool, cost: Cost) -> list[IdsJob]:
    """The jobs for transformers: the outputs of each batch and then, with a head, its logits."""
    names = {
        WORD_IDS: "input_ids",
        MASK: "attention_mask",
        **({TYPE_IDS: "token_type_ids"} if has_types else {}),
    }
    inputs = [
        {names[name]: array for name, array in batch.items() if name in names} for batch in batches
    ]
    loaders = ["AutoModel", *(["AutoModelForMaskedLM"] if has_head else [])]
    jobs = []
    for loader in loaders:
        for arrays in inputs:
            rows, length = arrays["input_ids"].shape
            jobs.append(IdsJob(loader, arrays, allowed_seconds([length] * rows, cost)))
    return jobs


def check_encoder(
    saved: Path,
    batches: Sequence[Arrays],
    answers: Sequence[Answer],
    pooler: str,
    has_head: bool,
    atol: float,
) -> float:
    """Compares the output of every layer, the pooled output and the logits.

    Args:
        saved: the SavedModel.
        batches: from `sample_inputs`.
        answers: the reference's answers to `jobs_of(batches, …)`.
        pooler: see `Options.pooler`.
        has_head: whether there is a masked language model.
        atol: the largest difference of embeddings that is allowed.

    Returns:
        The largest absolute difference.

    Raises:
        VerificationError: the first difference that is too large.
    """
    model = tf.saved_model.load(str(saved))
    worst = Difference()
    random_ = random.Random(3)
    tolerance = Tolerance(atol)
    for index, batch in enumerate(batches):
        expected = answers[index].arrays
        inputs = {name: tf.constant(array) for name, array in batch.items()}
        outputs = model(inputs)
        layers = np.stack([layer.numpy() for layer in outputs[LAYERS]])
        pooled = outputs[POOLED].numpy()
        worst = worst.or_worse(compare(LAYERS, layers, expected["hidden_states"][1:], tolerance))
        compare(SEQUENCE, outputs[SEQUENCE].numpy(), layers[-1], _EQUAL)
        if pooler == "identity":
            compare(POOLED, pooled, layers[-1][:, 0], _EQUAL)
        elif pooler == "checkpoint":
            worst = worst.or_worse(compare(POOLED, pooled, expected["pooler_output"], tolerance))
        compare(DEFAULT_OUTPUT, outputs[DEFAULT_OUTPUT].numpy(), pooled, _EQUAL)
        if has_head:
            logits = answers[len(batches) + index].arrays["logits"]
            worst = worst.or_worse(_compare_logits(model, inputs, logits, random_, atol))
    return worst.absolute


def _compare_logits(
    model: SavedObject,
    inputs: dict[str, tf.Tensor],
    expected: np.ndarray,
    random_: random.Random,
    atol: float,
) -> Difference:
    rows, length, _ = expected.shape
    positions = np.array(
        [[random_.randrange(length) for _ in range(_MASKED)] for _ in range(rows)], np.int32
    )
    actual = model.mlm({**inputs, POSITIONS: tf.constant(positions)})[MLM_LOGITS].numpy()
    expected = np.take_along_axis(expected, positions[:, :, np.newaxis].astype(np.int64), axis=1)
    return compare(MLM_LOGITS, actual, expected, Tolerance(max(atol, LOGITS_DIFFERENCE)))
