"""Calls from several threads, joined into one batch by TensorFlow's op BatchFunction."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Hashable

import tensorflow as tf

from tf_exporter.options import RequestBatching
from tf_exporter.tokenizers.ops.ragged import not_inlined, one_function

_MOST_WAITING = 10_000
"""The most batches that wait in a queue. A call that finds it full is an error."""

Rows = tuple[tf.Tensor, ...]
"""Tensors that each have one row for each text."""


class RequestQueues:
    """Queues of calls, one for each computation.

    While a batch is computed, further calls wait; then they are the next batch. So a call waits
    only where others are computed, and batches grow with the load.
    """

    def __init__(self, settings: RequestBatching):
        self._settings = settings
        # In a session, ops with the same name share a queue, and so would two models in one graph.
        self._name = f"tf_exporter_{uuid.uuid4().hex}"
        self._known: dict[Hashable, Callable[..., Rows]] = {}

    def joined(
        self, key: Hashable, compute: Callable[..., Rows], texts: tuple[tf.Tensor, ...]
    ) -> Rows:
        """`compute(*texts)`, for the texts of several calls at once.

        A call with no text, or with more than a batch takes, is computed by itself.

        Args:
            key: the name of the computation. Equal ones share a queue.
            compute: strings [batch], once or twice → tensors [batch, …]. Rows must not depend on
                each other, and no text may be an error, as that would fail the other calls too.
            texts: its arguments.
        """
        if key not in self._known:
            self._known[key] = self._queue(f"{self._name}_{len(self._known)}", compute)
        return self._known[key](*texts)

    def _queue(self, name: str, compute: Callable[..., Rows]) -> Callable[..., Rows]:
        settings, function = self._settings, tf.function(compute, autograph=False)

        def waiting(texts: tuple[tf.Tensor, ...]) -> list[tf.Tensor]:
            computation = function.get_concrete_function(*_specs(texts))
            results: list[tf.Tensor] = tf.raw_ops.BatchFunction(
                in_tensors=list(texts),
                captured_tensors=computation.captured_inputs,
                f=computation,
                num_batch_threads=settings.threads,
                max_batch_size=settings.size,
                batch_timeout_micros=settings.timeout_micros,
                max_enqueued_batches=_MOST_WAITING,
                shared_name=name,
                Tout=[output.dtype for output in computation.outputs],
            )
            return results

        def queue(*texts: tf.Tensor) -> Rows:
            count = tf.size(texts[0])
            results = tf.cond(
                (count > 0) & (count <= settings.size),
                not_inlined(lambda: waiting(texts)),
                not_inlined(lambda: list(function(*texts))),
            )
            shapes = function.get_concrete_function(*_specs(texts)).output_shapes
            return tuple(map(tf.ensure_shape, results, shapes))

        return one_function(queue)


def _specs(texts: tuple[tf.Tensor, ...]) -> list[tf.TensorSpec]:
    return [tf.TensorSpec([None], tf.string)] * len(texts)
