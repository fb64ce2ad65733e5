"""Threads that call at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import tensorflow as tf

MINUTE = 60


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """The results of calls that begin at the same time, or their TensorFlow errors."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait(MINUTE)
        try:
            return call()
        except tf.errors.OpError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def warm_up(function: Callable[[tf.Tensor], Any]) -> None:
    """Prepares all paths, as threads that call at the same time would each do it."""
    for count in (1, 16, 100):
        function(tf.constant(["a text of some tokens"] * count))
