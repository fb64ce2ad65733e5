"""Low-rank changes of layers, one for each task, beside the weights that all tasks share.

A context variable chooses the task of the graph that is traced, so that no layer needs a parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import tensorflow as tf

from tf_exporter.errors import WeightsError
from tf_exporter.layers.training import trainable
from tf_exporter.model.weights import Weights

_task: ContextVar[int | None] = ContextVar("task", default=None)


@contextmanager
def for_task(index: int | None) -> Iterator[None]:
    """Makes the graph that is traced inside compute a task; None: without any change."""
    before = _task.set(index)
    try:
        yield
    finally:
        _task.reset(before)


class LowRank(tf.Module):
    """The product of two matrices for each task (E. Hu et al., 2021)."""

    def __init__(self, first: np.ndarray, second: np.ndarray):
        """`first`: [tasks, in, rank]; `second`: [tasks, rank, out]."""
        super().__init__()
        self.first = tf.Variable(first, trainable=trainable(), name="first")
        self.second = tf.Variable(second, trainable=trainable(), name="second")

    def add_product(self, y: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        """Y plus the change of x, float32 [rows, in], for the task; y: float32 [rows, out]."""
        task = _task.get()
        if task is None:
            return y
        return y + tf.matmul(tf.matmul(x, self.first[task]), self.second[task])

    def add_rows(self, y: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """Y plus the change of the rows `ids` of a table; y: float32 [..., out]."""
        task = _task.get()
        if task is None:
            return y
        _, rows, rank = self.first.shape
        looked_up = tf.gather(tf.reshape(self.first, [-1, rank]), ids + task * rows)
        return y + tf.tensordot(looked_up, self.second[task], 1)


def of_linear(weights: Weights, name: str, inputs: int, outputs: int) -> LowRank | None:
    """The changes of a linear layer; None: there are none.

    Its tensors are A [tasks, rank, in] and B [tasks, out, rank].
    """
    if not _is_changed(weights, name):
        return None
    first, second = _taken(weights, name)
    tasks, rank = first.shape[:2]
    _check(weights, name, first, second, (tasks, rank, inputs), (tasks, outputs, rank))
    return LowRank(first.transpose(0, 2, 1), second.transpose(0, 2, 1))


def of_table(weights: Weights, name: str, rows: int, features: int) -> LowRank | None:
    """The changes of a table; None: there are none.

    Its tensors are A [tasks, rows, rank] and B [tasks, rank, features].
    """
    if not _is_changed(weights, name):
        return None
    first, second = _taken(weights, name)
    tasks, rank = first.shape[0], first.shape[2]
    _check(weights, name, first, second, (tasks, rows, rank), (tasks, rank, features))
    return LowRank(first, second)


def _tensor(name: str, part: str) -> str:
    return f"{name}.parametrizations.weight.0.lora_{part}"


def _is_changed(weights: Weights, name: str) -> bool:
    return any(_tensor(name, part) in weights for part in "AB")


def _taken(weights: Weights, name: str) -> tuple[np.ndarray, np.ndarray]:
    first, second = (weights.take_floats(_tensor(name, part)) for part in "AB")
    for part, array in (("A", first), ("B", second)):
        if array.ndim != 3:
            raise WeightsError(
                f"{weights.file}: tensor {_tensor(name, part)} has shape {list(array.shape)}, "
                "not one matrix for each task"
            )
    return first, second


def _check(
    weights: Weights,
    name: str,
    first: np.ndarray,
    second: np.ndarray,
    first_shape: tuple[int, ...],
    second_shape: tuple[int, ...],
) -> None:
    for part, array, shape in (("A", first, first_shape), ("B", second, second_shape)):
        if array.shape != shape:
            raise WeightsError(
                f"{weights.file}: tensor {_tensor(name, part)} has shape {list(array.shape)}, "
                f"not {list(shape)}"
            )
