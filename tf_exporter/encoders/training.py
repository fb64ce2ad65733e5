"""What fine-tuning asks of the layers: variables that are trained, and dropout.

Both are off unless an encoder is exported to be trained further; a context says so, which saves handing it through all layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class DropoutRates:
    """The share of numbers that is dropped, 0 ≤ rate < 1."""

    hidden: float
    """Of the embeddings, and of what attention and feed-forward make before it is added."""
    attention: float
    """Of the weights of attention."""


_NONE = DropoutRates(0.0, 0.0)
_trainable: ContextVar[bool] = ContextVar("trainable", default=False)
_rates: ContextVar[DropoutRates] = ContextVar("rates", default=_NONE)


@contextmanager
def trained_further() -> Iterator[None]:
    """What is built here can be trained."""
    before = _trainable.set(True)
    try:
        yield
    finally:
        _trainable.reset(before)


@contextmanager
def dropout(rates: DropoutRates) -> Iterator[None]:
    """What is traced here drops numbers at random."""
    before = _rates.set(rates)
    try:
        yield
    finally:
        _rates.reset(before)


def trainable() -> bool:
    """Whether variables are made to be trained."""
    return _trainable.get()


def dropped(x: tf.Tensor) -> tf.Tensor:
    """The same, or after dropout of hidden features."""
    return _dropped(x, _rates.get().hidden)


def dropped_weights(x: tf.Tensor) -> tf.Tensor:
    """The same, or after dropout of attention's weights."""
    return _dropped(x, _rates.get().attention)


def _dropped(x: tf.Tensor, rate: float) -> tf.Tensor:
    return tf.nn.dropout(x, rate) if rate else x
