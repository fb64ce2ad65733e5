"""`--tokenizer-ops tensorflow-text`: WordPiece by an op of tensorflow-text; all else is our own.

It is faster for large batches, but a server then needs the op library of tensorflow-text. Refused
unless the op always gives the tokens of the reference.
"""

from __future__ import annotations

from collections.abc import Set

import numpy as np
import tensorflow as tf

from tf_exporter.errors import UnsupportedError, UsageError
from tf_exporter.tokenizers.ops.ragged import (
    ADDED_TOKEN_BASE,
    Tokens,
    added_token_ids,
    count,
    offsets,
    places,
    select,
)
from tf_exporter.tokenizers.ops.tables import graph_constant
from tf_exporter.tokenizers.pre_tokenizers.steps import Words, word_ends
from tf_exporter.tokenizers.spec import BPESpec, ModelSpec, UnigramSpec, WordPieceSpec
from tf_exporter.tokenizers.templates import LARGEST_INT

TEXT_OPS = ("FastWordpieceTokenizeWithOffsets",)
"""The ops that a server needs the library of tensorflow-text for."""
_REASONS: dict[type, str] = {
    UnigramSpec: "SentencepieceTokenizer adds scores in float32, the reference in float64, "
    "so near ties are decided differently",
    BPESpec: "tensorflow-text has no op that merges by the ranks of a list of merges",
}


class FastWordPiece:
    """The WordPiece model by `tensorflow_text.FastWordpieceTokenizer`, called on single words."""

    def __init__(self, spec: ModelSpec, added_token_ids: list[int], isolated: Set[int]) -> None:
        """`isolated`: code points that are always words of their own.

        Raises:
            UnsupportedError: The op does not always give the tokens of the reference.
            UsageError: tensorflow-text cannot be imported.
        """
        if not isinstance(spec, WordPieceSpec):
            raise _refusal(_REASONS.get(type(spec), "tensorflow-text has no op for it"))
        try:
            import tensorflow_text
        except ImportError as error:
            raise UsageError(
                f"--tokenizer-ops tensorflow-text: tensorflow-text cannot be imported ({error})"
            ) from None
        names = {id: token for token, id in spec.vocab.items()}
        if sorted(names) != [*range(len(spec.vocab))]:
            raise _refusal("token ids without gaps are needed")
        prefix = spec.continuing_subword_prefix
        if len(prefix) < 2 or ord(prefix[0]) not in isolated:
            # The op would take such a word for a continuing piece.
            raise _refusal(f"a pre-tokenizer that lets no word begin with {prefix!r} is needed")
        longest = spec.max_input_chars_per_word
        self._unk_id, self._longest = spec.vocab[spec.unk_token], longest
        self._added_token_ids = graph_constant(np.array([*added_token_ids, -1], np.int32))
        self._tokenizer = tensorflow_text.FastWordpieceTokenizer(
            [names[id] for id in range(len(names))],
            suffix_indicator=prefix,
            # The model's limit counts characters; `__call__` applies it.
            max_bytes_per_word=LARGEST_INT,
            token_out_type=tf.int32,
            unknown_token=spec.unk_token,
            no_pretokenization=True,
        )

    def __call__(self, words: Words) -> Tokens:
        start = places(words.starts)
        end = tf.gather(word_ends(words), start)
        too_long = end - start > self._longest
        in_word = places(words.starts | words.inside)
        splits = tf.concat([tf.searchsorted(in_word, start), count(in_word)[tf.newaxis]], 0)
        texts = tf.raw_ops.UnicodeEncode(
            input_values=tf.gather(words.codes, in_word),
            input_splits=splits,
            output_encoding="UTF-8",
            errors="replace",
        )
        # Words that are too long are unknown, so the op gets empty strings for them.
        tokenized = self._tokenizer.tokenize(select(too_long, "", texts))
        pieces, first = tokenized.values, tf.cast(tokenized.row_splits, tf.int32)
        added = places(words.codes >= ADDED_TOKEN_BASE)
        pool = tf.concat(
            [
                pieces,
                [self._unk_id],
                added_token_ids(tf.gather(words.codes, added), self._added_token_ids),
            ],
            0,
        )
        # Words and added tokens, by their positions in the text.
        order = tf.argsort(tf.concat([start, added], 0))
        lengths = tf.concat([select(too_long, 1, first[1:] - first[:-1]), tf.ones_like(added)], 0)
        begin = tf.concat(
            [
                select(too_long, count(pieces), first[:-1]),
                count(pieces) + 1 + tf.range(count(added)),
            ],
            0,
        )
        lengths, begin = tf.gather(lengths, order), tf.gather(begin, order)
        _, chosen = tf.raw_ops.RaggedRange(
            starts=begin, limits=begin + lengths, deltas=tf.constant(1), Tsplits=tf.int32
        )
        before = tf.searchsorted(tf.sort(tf.concat([start, added], 0)), words.row_splits)
        return Tokens(tf.gather(pool, chosen), tf.gather(offsets(lengths), before))


def _refusal(reason: str) -> UnsupportedError:
    return UnsupportedError(
        "arguments", "--tokenizer-ops", "tensorflow-text", f"core for this tokenizer: {reason}"
    )
