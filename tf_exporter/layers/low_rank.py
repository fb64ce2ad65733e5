"""Low-rank changes of layers, one for each task, beside the weights that all tasks share.

A context variable chooses the task of the graph that is traced, so that no layer needs a parameter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import tensorflow as tf

from tf_exporter.errors import WeightsError
from tf_exporter.layers.training import trainable
from tf_exporter.model.adapters.tasks import change
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

    def __init__(self, first: np.ndarray, seconds: Sequence[np.ndarray]):
        """The matrices of a layer, or of several layers over one input, whose outputs are joined.

        Args:
            first: [tasks, in, ranks], the first matrices of all layers beside each other.
            seconds: [tasks, rank, out] for each layer. A layer without a change has rank 0.
        """
        super().__init__()
        self._ranks = [second.shape[1] for second in seconds]
        self.first = tf.Variable(first, trainable=trainable(), name="first")
        self.seconds = [
            tf.Variable(second, trainable=trainable(), name="second") for second in seconds
        ]

    def add_product(self, y: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        """Y plus the change of x, float32 [rows, in], for the task; y: float32 [rows, out]."""
        task = _task.get()
        if task is None:
            return y
        parts = tf.split(tf.matmul(x, self.first[task]), self._ranks, axis=1)
        changes = [tf.matmul(part, second[task]) for part, second in zip(parts, self.seconds)]
        return y + tf.concat(changes, axis=1)

    def add_rows(self, y: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """Y plus the change of the rows `ids` of a table; y: float32 [..., out]."""
        task = _task.get()
        if task is None:
            return y
        _, rows, rank = self.first.shape
        looked_up = tf.gather(tf.reshape(self.first, [-1, rank]), ids + task * rows)
        return y + tf.tensordot(looked_up, self.seconds[0][task], 1)


def of_linear(
    weights: Weights, names: tuple[str, ...], inputs: int, outputs: tuple[int, ...]
) -> LowRank | None:
    """The changes of linear layers over one input; None: there are none.

    The tensors of a layer are A [tasks, rank, in] and B [tasks, out, rank].
    """
    taken: list[tuple[np.ndarray, np.ndarray] | None] = []
    for name, width in zip(names, outputs):
        if not _is_changed(weights, name):
            taken.append(None)
            continue
        first, second = _taken(weights, name)
        tasks, rank = first.shape[:2]
        _check(weights, name, first, second, (tasks, rank, inputs), (tasks, width, rank))
        taken.append((first.transpose(0, 2, 1), second.transpose(0, 2, 1)))
    changed = [pair for pair in taken if pair is not None]
    if not changed:
        return None
    tasks = len(changed[0][0])
    none = [np.zeros((tasks, 0, width), np.float32) for width in outputs]
    seconds = [empty if pair is None else pair[1] for pair, empty in zip(taken, none)]
    return LowRank(np.concatenate([first for first, _ in changed], axis=2), seconds)


def of_table(weights: Weights, name: str, rows: int, features: int) -> LowRank | None:
    """The changes of a table; None: there are none.

    Its tensors are A [tasks, rows, rank] and B [tasks, rank, features].
    """
    if not _is_changed(weights, name):
        return None
    first, second = _taken(weights, name)
    tasks, rank = first.shape[0], first.shape[2]
    _check(weights, name, first, second, (tasks, rows, rank), (tasks, rank, features))
    return LowRank(first, [second])


def _is_changed(weights: Weights, name: str) -> bool:
    return any(change(name, part) in weights for part in "AB")


def _taken(weights: Weights, name: str) -> tuple[np.ndarray, np.ndarray]:
    first, second = (weights.take_floats(change(name, part)) for part in "AB")
    for part, array in (("A", first), ("B", second)):
        if array.ndim != 3:
            raise WeightsError(
                f"{weights.file}: tensor {change(name, part)} has shape {list(array.shape)}, "
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
                f"{weights.file}: tensor {change(name, part)} has shape {list(array.shape)}, "
                f"not {list(shape)}"
            )
