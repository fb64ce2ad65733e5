"""Trainable variables and dropout, for encoders that are exported for fine-tuning.

Both are off by default. Context variables turn them on, so that no layer needs a parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class DropoutRates:
    """Rates of dropout, 0 ≤ rate < 1."""

    hidden: float
    """For the embeddings, and the outputs of attention and feed-forward before they are added."""
    attention: float
    """For the weights of attention."""


_NONE = DropoutRates(0.0, 0.0)
_trainable: ContextVar[bool] = ContextVar("trainable", default=False)
_rates: ContextVar[DropoutRates] = ContextVar("rates", default=_NONE)


@contextmanager
def trained_further() -> Iterator[None]:
    """Makes the variables that are created inside trainable."""
    before = _trainable.set(True)
    try:
        yield
    finally:
        _trainable.reset(before)


@contextmanager
def dropout(rates: DropoutRates) -> Iterator[None]:
    """Turns on dropout in the graph that is traced inside."""
    before = _rates.set(rates)
    try:
        yield
    finally:
        _rates.reset(before)


def trainable() -> bool:
    """Whether new variables are trainable."""
    return _trainable.get()


def dropped(x: tf.Tensor) -> tf.Tensor:
    """`x` after dropout with the rate for hidden features; unchanged if dropout is off."""
    return _dropped(x, _rates.get().hidden)


def dropped_weights(x: tf.Tensor) -> tf.Tensor:
    """`x` after dropout with the rate for attention weights; unchanged if dropout is off."""
    return _dropped(x, _rates.get().attention)


def _dropped(x: tf.Tensor, rate: float) -> tf.Tensor:
    return tf.nn.dropout(x, rate) if rate else x
