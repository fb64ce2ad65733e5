"""Texts → the three inputs of an encoder, with TensorFlow Hub's API for preprocessing models.

The API is that of `bert_en_uncased_preprocess` and of `official.nlp.tools.export_tfhub` in
tf-models-official 2.20. The ids are those of the model's own tokenizer in `tokenizers`.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.untyped import TransformersTokenizer
from tf_exporter.names import DEFAULT, ENCODER_INPUTS, SENTENCES
from tf_exporter.tokenizers.ops.ragged import Tokens
from tf_exporter.tokenizers.pipeline import TokenizerGraph
from tf_exporter.tokenizers.post_processors import Encodings, Padding
from tf_exporter.tokenizers.spec import FILE, TokenizerSpec
from tf_exporter.tokenizers.templates import Template

_LENGTH = tf.TensorSpec([], tf.int32, "seq_length")


def preprocessing(
    tokenizer: TokenizerGraph,
    spec: TokenizerSpec,
    special: dict[str, int],
    default_seq_length: int,
    batch: int | None,
) -> tuple[tf.train.Checkpoint, dict[str, Any]]:
    """The saved object and its signature.

    The object is called with texts. Its parts `tokenize` and `bert_pack_inputs` are the two steps.
    `special` is the result of `special_tokens`. `batch` is the number of texts; None: any.
    """
    pack = _Packer(spec, batch)
    texts = tf.TensorSpec([batch], tf.string, SENTENCES)

    @tf.function(autograph=False)
    def preprocess(inputs: tf.Tensor, seq_length: int = default_seq_length) -> dict[str, tf.Tensor]:
        """Bytes [batch] → int32 [batch, seq_length] each."""
        return pack([tokenizer.tokens(inputs)], seq_length)

    # Once with the default length, which gives static shapes, and once with any length.
    preprocess.get_concrete_function(texts)
    preprocess.get_concrete_function(texts, _LENGTH)
    root = tf.train.Checkpoint()
    root.__call__ = preprocess
    root.tokenize = _tokenize(tokenizer, special, texts)
    root.bert_pack_inputs = _pack_inputs(pack, default_seq_length, batch)
    signature = tf.function(
        lambda sentences: preprocess(sentences), input_signature=[texts], autograph=False
    )
    return root, {DEFAULT: signature}


def _tokenize(
    tokenizer: TokenizerGraph, special: dict[str, int], texts: tf.TensorSpec
) -> tf.train.Checkpoint:
    """Bytes [batch] → int32 [batch, (tokens)], or [batch, (words), (tokens)] for WordPiece."""

    def tokenize(inputs: tf.Tensor) -> tf.RaggedTensor:
        return as_ragged(tokenizer.tokens(inputs))

    result = tf.train.Checkpoint()
    result.__call__ = tf.function(tokenize, input_signature=[texts], autograph=False)
    numbers = tf.train.Checkpoint()
    numbers.__call__ = tf.function(
        lambda: {name: tf.constant(id, tf.int32) for name, id in special.items()},
        input_signature=[],
        autograph=False,
    )
    result.get_special_tokens_dict = numbers
    return result


def _pack_inputs(pack: _Packer, default_seq_length: int, batch: int | None) -> tf.train.Checkpoint:
    """A list of one or two int32 ragged tensors, as from `tokenize` → the three inputs."""

    @tf.function(autograph=False)
    def bert_pack_inputs(
        inputs: list[tf.RaggedTensor], seq_length: int = default_seq_length
    ) -> dict[str, tf.Tensor]:
        return pack([_flat(segment) for segment in inputs], seq_length)

    for ragged_rank in (1, 2):
        for segments in (1, 2):
            specs = [
                tf.RaggedTensorSpec([batch] + [None] * ragged_rank, tf.int32)
                for _ in range(segments)
            ]
            bert_pack_inputs.get_concrete_function(specs)
            bert_pack_inputs.get_concrete_function(specs, _LENGTH)
    result = tf.train.Checkpoint()
    result.__call__ = bert_pack_inputs
    return result


class _Packer:
    """Tokens of one or two segments → int32 [batch, seq_length] ids, mask and types.

    They are padded, and truncated as by TensorFlow Text's `RoundRobinTrimmer`: the segments take
    turns to add a token, beginning with the first.
    """

    def __init__(self, spec: TokenizerSpec, batch: int | None) -> None:
        self._added = spec.single.added, spec.pair.added
        self._padding = Padding(spec)
        self._has_types = spec.has_token_type_ids
        self._batch = batch

    def __call__(self, segments: list[Tokens], seq_length: tf.Tensor | int) -> dict[str, tf.Tensor]:
        room = self._room(seq_length, self._added[len(segments) - 1])
        with tf.device("/CPU:0"):
            lengths = tf.stack(
                [tokens.row_splits[1:] - tokens.row_splits[:-1] for tokens in segments], 1
            )
            kept = tf.minimum(lengths, room)
            if len(segments) == 2:
                # Each segment gets half of the room, and what the other does not use.
                half = tf.stack([(room + 1) // 2, room // 2])
                kept = tf.minimum(lengths, tf.maximum(half, room - tf.reverse(lengths, [1])))
            starts = tf.stack([tokens.row_splits[:-1] for tokens in segments], 1)
            if len(segments) == 2:
                starts += [0, tf.size(segments[0].ids)]
            pool = tf.concat([tokens.ids for tokens in segments], 0)
            count = tf.reduce_sum(kept, 1) + self._added[len(segments) - 1]
            padded = self._padding(Encodings(pool, starts, kept, count), length=seq_length)
        if not self._has_types:
            padded = padded._replace(token_type_ids=tf.zeros_like(padded.input_ids))
        static = seq_length if isinstance(seq_length, int) else None
        return {
            name: tf.ensure_shape(tensor, [self._batch, static])
            for name, tensor in zip(ENCODER_INPUTS, padded)
        }

    @staticmethod
    def _room(seq_length: tf.Tensor | int, added: int) -> tf.Tensor:
        """The number of tokens that fit besides the special ones."""
        length = tf.convert_to_tensor(seq_length, tf.int32)
        message = f"seq_length must be at least {added}, for the special tokens; got"
        with tf.control_dependencies([tf.debugging.Assert(length >= added, [message, length])]):
            return tf.identity(length) - added


def as_ragged(tokens: Tokens) -> tf.RaggedTensor:
    """int32 [batch, (tokens)], or [batch, (words), (tokens)] if words are known."""
    splits = tf.cast(tokens.row_splits, tf.int64)
    if tokens.word_starts is None:
        return tf.RaggedTensor.from_row_splits(tokens.ids, splits, validate=False)
    words = tf.squeeze(tf.where(tokens.word_starts), 1)
    before = tf.concat([[0], tf.cumsum(tf.cast(tokens.word_starts, tf.int64))], 0)
    inner = tf.concat([words, splits[-1:]], 0)
    return tf.RaggedTensor.from_nested_row_splits(
        tokens.ids, [tf.gather(before, splits), inner], validate=False
    )


def _flat(segment: tf.RaggedTensor) -> Tokens:
    while segment.ragged_rank > 1:
        segment = segment.merge_dims(1, 2)
    return Tokens(segment.values, tf.cast(segment.row_splits, tf.int32))


def special_tokens(hf_tokenizer: TransformersTokenizer, spec: TokenizerSpec) -> dict[str, int]:
    """The special ids under the names in TensorFlow Hub's preprocessing models.

    Raises:
        UnsupportedError: there is no mask token, or not one special token before and after a text.
    """
    template = spec.single
    if not _surrounds(template):
        ids = [piece.ids if piece.ids is not None else "the text" for piece in template.pieces]
        supported = "a special token before a text and one after it"
        raise UnsupportedError(FILE, "post_processor", ids, supported)
    if hf_tokenizer.mask_token_id is None:
        raise UnsupportedError(
            "tokenizer_config.json", "mask_token", None, "a token: mask_id is part of the API"
        )
    start, end = template.special_ids
    return {
        "vocab_size": len(hf_tokenizer),
        "padding_id": spec.pad_id,
        "start_of_sequence_id": start,
        "end_of_segment_id": end,
        "mask_id": int(hf_tokenizer.mask_token_id),
    }


def _surrounds(template: Template) -> bool:
    ids = [piece.ids for piece in template.pieces]
    return (
        len(ids) == 3
        and ids[1] is None
        and all(piece is not None and len(piece) == 1 for piece in (ids[0], ids[2]))
    )
