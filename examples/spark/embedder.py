"""The code of Spark's workers, which needs only tensorflow, pandas and pyarrow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import pandas as pd

TEXTS_AT_ONCE = 1024


@lru_cache(maxsize=1)
def _signature(model: str, name: str) -> tuple[Any, Any]:
    """The loaded model and its signature, cached for the next partitions of a worker process."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import tensorflow as tf

    # Spark starts a worker for each core.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(model)
    return loaded, loaded.signatures[name]


def embedding(
    model: str, signature: str
) -> Callable[[Iterator[pd.DataFrame]], Iterator[pd.DataFrame]]:
    """A function for `DataFrame.mapInPandas`: `id`, `text` → `id`, `embedding`.

    The embedding of a null text is null.
    """

    def embed(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        import tensorflow as tf

        _, function = _signature(model, signature)
        for frame in frames:
            for start in range(0, len(frame), TEXTS_AT_ONCE):
                part = frame.iloc[start : start + TEXTS_AT_ONCE]
                present = part["text"].notna().to_numpy()
                texts = tf.constant(part["text"][present].tolist(), tf.string)
                rows = iter(function(input_sequence=texts)["sentence_embedding"].numpy())
                embeddings = [next(rows) if is_present else None for is_present in present]
                yield pd.DataFrame({"id": part["id"].to_numpy(), "embedding": embeddings})

    return embed
