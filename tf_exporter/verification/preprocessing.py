"""Comparison of a preprocessing model's token ids with those of Hugging Face tokenizers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_exporter.errors import VerificationError, shortened
from tf_exporter.model.untyped import TransformersTokenizer
from tf_exporter.names import ENCODER_INPUTS, MASK, WORD_IDS
from tf_exporter.tokenizers.spec import TokenizerSpec
from tf_exporter.tokenizers.templates import Template
from tf_exporter.verification.plans import BATCH, partners
from tf_exporter.verification.sample_texts import decoded, texts_for
from tf_exporter.verification.tokens import check_many_tokens

_LENGTHS = (8, 128)
"""Values of `seq_length` that are tested besides the one that was asked for."""


def check_all_tokens(
    folder: Path, hf_tokenizer: TransformersTokenizer, spec: TokenizerSpec, quiet: bool
) -> int:
    """Compares the ids of every code point and of many generated texts; returns their number.

    Raises:
        VerificationError: token ids differ.
    """
    model = tf.saved_model.load(str(folder))

    def tokenize(input_sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        tokens = model.tokenize(input_sequence)
        flat = tokens.merge_dims(1, 2) if tokens.ragged_rank == 2 else tokens
        longest = int(tf.reduce_max(flat.row_lengths())) + spec.single.added
        inputs = model(input_sequence, seq_length=longest)
        return {"input_ids": inputs[WORD_IDS], "attention_mask": inputs[MASK]}

    return check_many_tokens(tokenize, hf_tokenizer, spec, quiet)


def check_preprocessing(
    folder: Path,
    hf_tokenizer: TransformersTokenizer,
    spec: TokenizerSpec,
    seq_length: int,
    batch: int | None,
) -> int:
    """Compares the inputs for texts and pairs with ids of `tokenizers`; returns their number.

    Raises:
        VerificationError: ids, masks or types differ.
    """
    model = tf.saved_model.load(str(folder))
    texts = texts_for(spec, seq_length, spec.single.added)
    ids: list[list[int]] = [
        hf_tokenizer(decoded(text), add_special_tokens=False, verbose=False)["input_ids"]
        for text in texts
    ]
    size = batch or BATCH
    for length in dict.fromkeys((seq_length, *_LENGTHS)):
        for start in range(0, len(texts), size):
            rows = texts[start : start + size]
            rows += [b""] * (size - len(rows) if batch else 0)
            own = [*ids[start : start + size], *[[]] * size][: len(rows)]
            tokens = model.tokenize(tf.constant(rows))
            other = tf.gather(tokens, partners([*range(len(rows))]))
            _same(
                model(tf.constant(rows), seq_length=length),
                [_packed(spec, [row], length) for row in own],
                rows,
            )
            pairs = [_packed(spec, list(pair), length) for pair in zip(own, partners(own))]
            _same(model.bert_pack_inputs([tokens, other], seq_length=length), pairs, rows)
    return 2 * len(texts)


def _packed(
    spec: TokenizerSpec, segments: list[list[int]], length: int
) -> tuple[list[int], list[int], list[int]]:
    """Ids, mask and types of one row: its segments in the template, after `RoundRobinTrimmer`."""
    template = spec.single if len(segments) == 1 else spec.pair
    kept = round_robin([len(segment) for segment in segments], length - template.added)
    ids, types = _filled(template, [segment[:count] for segment, count in zip(segments, kept)])
    padding = length - len(ids)
    types = types if spec.has_token_type_ids else [0] * len(types)
    pad_type = spec.pad_type_id if spec.has_token_type_ids else 0
    rows = (
        (ids, [spec.pad_id] * padding),
        ([1] * len(ids), [0] * padding),
        (types, [pad_type] * padding),
    )
    left = spec.padding_side == "left"
    return tuple(filling + row if left else row + filling for row, filling in rows)  # type: ignore[return-value]


def round_robin(sizes: list[int], room: int) -> list[int]:
    """The number of tokens that are kept of each segment; segments take turns, a token each."""
    kept = [0] * len(sizes)
    while room > 0 and kept != sizes:
        for index, size in enumerate(sizes):
            if room > 0 and kept[index] < size:
                kept[index] += 1
                room -= 1
    return kept


def _filled(template: Template, segments: list[list[int]]) -> tuple[list[int], list[int]]:
    ids: list[int] = []
    types: list[int] = []
    for piece in template.pieces:
        part = segments[piece.text] if piece.ids is None else list(piece.ids)
        ids += part
        types += [piece.type_id] * len(part)
    return ids, types


def _same(
    actual: dict[str, tf.Tensor],
    expected: list[tuple[list[int], list[int], list[int]]],
    texts: list[bytes],
) -> None:
    for name, column in zip(ENCODER_INPUTS, zip(*expected)):
        wrong = (actual[name].numpy() != np.array(column)).any(axis=1)
        if wrong.any():
            row = int(wrong.argmax())
            raise VerificationError(
                f"{name} of {shortened(texts[row])} are "
                f"{shortened(actual[name].numpy()[row].tolist())}, "
                f"not {shortened(list(column[row]))}"
            )
