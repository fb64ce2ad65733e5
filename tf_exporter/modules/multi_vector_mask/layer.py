"""MultiVectorMask: the tokens that count for a score, as in sentence-transformers 6.2."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.untyped import TransformersTokenizer
from tf_exporter.modules.base import Module
from tf_exporter.modules.features import Features
from tf_exporter.modules.multi_vector_mask.config import MaskConfig
from tf_exporter.names import DOCUMENT, QUERY


class MultiVectorMask(Module):
    """Replaces the attention mask by the mask of the tokens that count, for texts of one task."""

    def __init__(self, config: MaskConfig, task: str, tokenizer: TransformersTokenizer):
        """`task`: "query", "document", or "" for texts without a task."""
        super().__init__()
        self._is_query = task == QUERY
        skips = (task or DOCUMENT) in config.tasks
        ids, self.unknown_words = skipped_ids(config, tokenizer)
        """Words that are no single token. The reference ignores them, too."""
        self._skipped = ids if skips else []
        self._kept = [] if self._is_query else [*config.kept]

    def __call__(self, features: Features) -> Features:
        """`attention_mask` int32 [batch, length] → the same, 1 where a vector counts."""
        mask = features["attention_mask"] > 0
        if self._is_query and "expanded" in features:
            mask |= features["expanded"]
        ids = features["input_ids"]
        if self._skipped:
            mask &= ~_is_in(ids, self._skipped)
        if self._kept:
            mask &= _is_in(ids, self._kept)
        return {**features, "attention_mask": tf.cast(mask, tf.int32)}


def skipped_ids(
    config: MaskConfig, tokenizer: TransformersTokenizer
) -> tuple[list[int], list[str]]:
    """The ids of words that are one token, and all other words.

    Raises:
        UnsupportedError: a word is no token, and the tokenizer has no token for unknown words. The
            reference then fails.
    """
    unknown, unknown_id = tokenizer.unk_token, tokenizer.unk_token_id
    found, others = [], []
    for word in config.skipped:
        id = tokenizer.convert_tokens_to_ids(word)
        if id is None:
            supported = "tokens of the tokenizer, which has none for unknown words"
            raise UnsupportedError(config.file, "skiplist_words", word, supported)
        if unknown_id is None or id != unknown_id or word == unknown:
            found.append(id)
        else:
            others.append(word)
    return found, others


def _is_in(ids: tf.Tensor, values: list[int]) -> tf.Tensor:
    """Whether each id is one of some values: bool, of the same shape."""
    ordered = tf.constant(sorted(set(values)), tf.int32)
    place = tf.minimum(tf.searchsorted(ordered, tf.reshape(ids, [-1])), len(set(values)) - 1)
    return tf.reshape(tf.gather(ordered, place), tf.shape(ids)) == ids
