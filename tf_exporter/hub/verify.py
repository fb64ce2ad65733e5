"""Proof that what was saved for TensorFlow Hub answers as the model's tokenizer and transformers do."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_exporter.errors import VerificationError, shortened
from tf_exporter.hub.classifier import FIRST, SECOND
from tf_exporter.hub.classifier import LOGITS as CLASS_LOGITS
from tf_exporter.hub.encoder import DEFAULT_OUTPUT, LAYERS, LOGITS, POOLED, POSITIONS, SEQUENCE, Parts
from tf_exporter.hub.preprocessing import INPUTS, MASK, TYPE_IDS, WORD_IDS
from tf_exporter.hub.reference import Arrays, answers
from tf_exporter.limits import Limits
from tf_exporter.samples import decoded, quick_texts
from tf_exporter.tokenizers.spec import TokenizerSpec
from tf_exporter.tokenizers.templates import Template
from tf_exporter.tolerances import allowed
from tf_exporter.verify import BATCH, check_many_tokens, others, with_embeddings

LOGITS_DIFFERENCE = 1e-4
"""Of scores of tokens, sums of many products, at most."""
_LENGTHS = (8, 128)
_BATCHES = 4
_LONGEST = 128


@dataclass(frozen=True)
class HubVerification:
    """What was compared, and how far apart the answers were."""

    level: str
    token_texts: int
    """Texts, and pairs of them, whose ids were compared; all were equal."""
    embedding_texts: int
    """Rows of token ids whose embeddings or scores were compared."""
    max_abs_difference: float | None
    not_checked: str | None
    reference_versions: dict[str, str]


def check_all_tokens(folder: Path, hf_tokenizer: Any, spec: TokenizerSpec, quiet: bool) -> int:
    """Compares the ids of every code point in several contexts, and of many generated texts; how many there were."""
    model = tf.saved_model.load(str(folder))

    def tokenize(input_sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        tokens = model.tokenize(input_sequence)
        flat = tokens.merge_dims(1, 2) if tokens.ragged_rank == 2 else tokens
        longest = int(tf.reduce_max(flat.row_lengths())) + spec.single.added
        found = model(input_sequence, seq_length=longest)
        return {"input_ids": found[WORD_IDS], "attention_mask": found[MASK]}

    return check_many_tokens(tokenize, hf_tokenizer, spec, quiet)


def check_preprocessing(folder: Path, hf_tokenizer: Any, spec: TokenizerSpec, seq_length: int, batch: int | None) -> int:
    """Compares the inputs made of texts and of pairs with `tokenizers`' own ids; how many there were."""
    model = tf.saved_model.load(str(folder))
    texts = quick_texts(seq_length, spec.single.added, [token.content for token in spec.added_tokens])
    ids: list[list[int]] = [hf_tokenizer(decoded(text), add_special_tokens=False, verbose=False)["input_ids"] for text in texts]
    size = batch or BATCH
    for length in (seq_length, *_LENGTHS):
        for start in range(0, len(texts), size):
            rows = texts[start : start + size]
            rows += [b""] * (size - len(rows) if batch else 0)
            own = [*ids[start : start + size], *[[]] * size][: len(rows)]
            partners = others(own)
            tokens = model.tokenize(tf.constant(rows))
            other = tf.gather(tokens, others([*range(len(rows))]))
            _same(model(tf.constant(rows), seq_length=length), [_packed(spec, [row], length) for row in own], rows)
            pairs = [_packed(spec, list(pair), length) for pair in zip(own, partners)]
            _same(model.bert_pack_inputs([tokens, other], seq_length=length), pairs, rows)
    return 2 * len(texts)


def _packed(spec: TokenizerSpec, segments: list[list[int]], length: int) -> tuple[list[int], list[int], list[int]]:
    """Ids, mask and types of one row: the model's template around its segments, cut as by `RoundRobinTrimmer`."""
    template = spec.single if len(segments) == 1 else spec.pair
    kept = round_robin([len(segment) for segment in segments], length - template.added)
    ids, types = _filled(template, [segment[:count] for segment, count in zip(segments, kept)])
    padding = length - len(ids)
    types = types if spec.has_token_type_ids else [0] * len(types)
    pad_type = spec.pad_type_id if spec.has_token_type_ids else 0
    rows = (ids, [spec.pad_id] * padding), ([1] * len(ids), [0] * padding), (types, [pad_type] * padding)
    left = spec.padding_side == "left"
    return tuple(filling + row if left else row + filling for row, filling in rows)  # type: ignore[return-value]


def round_robin(sizes: list[int], room: int) -> list[int]:
    """How many tokens of each segment are kept: they take turns, a token each."""
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


def _same(found: dict[str, tf.Tensor], expected: list[tuple[list[int], list[int], list[int]]], texts: list[bytes]) -> None:
    for name, column in zip(INPUTS, zip(*expected)):
        wrong = (found[name].numpy() != np.array(column)).any(axis=1)
        if wrong.any():
            row = int(wrong.argmax())
            raise VerificationError(
                f"{name} of {shortened(texts[row])} are {shortened(found[name].numpy()[row].tolist())}, "
                f"not {shortened(list(column[row]))}"
            )


def sample_inputs(vocab_size: int, types: int, most: int | None, batch: int | None, length: int | None) -> list[Arrays]:
    """Batches of token ids, some padded, in segments where there are any: int32 [batch, length] by their names."""
    random_ = np.random.default_rng(7)
    longest = min(most or _LONGEST, _LONGEST) if length is None else length
    found = []
    for number in range(_BATCHES):
        size = longest if number == 0 else int(random_.integers(1, longest + 1)) if length is None else length
        shape = (batch or (1, 4)[number % 2], size)
        present = random_.integers(1, size + 1, shape[0])
        present[0] = size
        mask = np.arange(size) < present[:, np.newaxis]
        second = random_.integers(1, size + 1, shape[0])[:, np.newaxis] <= np.arange(size)
        ids = random_.integers(0, vocab_size, shape)
        kinds = second & mask if types > 1 else np.zeros(shape)
        found.append({name: array.astype(np.int32) for name, array in zip(INPUTS, (ids, mask, kinds))})
    return found


def check_encoder(
    folder: Path, source: Path, parts: Parts, pooler: str, batches: list[Arrays], atol: float
) -> tuple[int, float, dict[str, str]]:
    """Compares every layer's output, the pooled one and the head's with transformers': rows, largest difference, versions."""
    model = tf.saved_model.load(str(folder))
    named = {WORD_IDS: "input_ids", MASK: "attention_mask", **({TYPE_IDS: "token_type_ids"} if parts.has_types else {})}
    requests = [{named[name]: array for name, array in batch.items() if name in named} for batch in batches]
    expected, versions = answers(source, ["AutoModel", *(["AutoModelForMaskedLM"] if parts.head else [])], requests)
    worst = 0.0
    random_ = random.Random(3)
    for batch, answer in zip(batches, expected):
        inputs = {name: tf.constant(array) for name, array in batch.items()}
        found = model(inputs)
        layers = np.stack([layer.numpy() for layer in found[LAYERS]])
        worst = max(worst, _difference(LAYERS, layers, answer["hidden_states"][1:], atol))
        worst = max(worst, _difference(SEQUENCE, found[SEQUENCE].numpy(), layers[-1], 0.0))
        if pooler == "identity":
            _difference(POOLED, found[POOLED].numpy(), layers[-1][:, 0], 0.0)
        elif pooler == "checkpoint":
            worst = max(worst, _difference(POOLED, found[POOLED].numpy(), answer["pooler_output"], atol))
        _difference(DEFAULT_OUTPUT, found[DEFAULT_OUTPUT].numpy(), found[POOLED].numpy(), 0.0)
        if parts.head:
            rows, length = batch[WORD_IDS].shape
            positions = np.array([[random_.randrange(length) for _ in range(5)] for _ in range(rows)], np.int32)
            logits = model.mlm({**inputs, POSITIONS: tf.constant(positions)})[LOGITS].numpy()
            wanted = np.take_along_axis(answer["logits"], positions[:, :, np.newaxis].astype(np.int64), axis=1)
            worst = max(worst, _difference(LOGITS, logits, wanted, max(atol, LOGITS_DIFFERENCE)))
    return sum(len(batch[WORD_IDS]) for batch in batches), worst, versions


def check_classifier(
    folder: Path, source: Path, first: Any, batch: int | None, limits: Limits
) -> tuple[int, float, dict[str, str]]:
    """Compares the logits of texts and of pairs with transformers': rows, largest difference, versions.

    Args:
        folder: the SavedModel.
        source: the folder of the transformers model.
        first: the module that has the tokenizer.
        batch: the number of texts of a call, where it is fixed.
        limits: how far they may be from each other.
    """
    spec = first.tokenizer_spec
    texts = quick_texts(spec.max_length, spec.single.added, [token.content for token in spec.added_tokens])
    if not spec.single.added:
        texts = [text for text in texts if first.hf_tokenizer(decoded(text))["input_ids"]]
    texts = with_embeddings(texts, first.hf_tokenizer, spec)
    signatures = tf.saved_model.load(str(folder)).signatures
    asked = {"classify": [texts], "classify_pair": [texts, others(texts)]}
    # In order of length, so that less is padded in the reference; ours gets them mixed.
    orders = [sorted(range(len(texts)), key=lambda row: sum(len(side[row]) for side in sides)) for sides in asked.values()]
    batches = [
        batch
        for sides, order in zip(asked.values(), orders)
        for batch in _encoded(first, [[side[row] for row in order] for side in sides])
    ]
    answered, versions = answers(source, ["AutoModelForSequenceClassification"], batches)
    logits = np.split(np.concatenate([answer["logits"] for answer in answered]), len(asked))
    expected = [rows[np.argsort(order)] for rows, order in zip(logits, orders)]
    differences = [
        _difference(name, _logits(signatures[name], sides, batch), wanted, limits.score_difference)
        for (name, sides), wanted in zip(asked.items(), expected)
    ]
    return 2 * len(texts), max(differences), versions


def _encoded(first: Any, sides: list[list[bytes]]) -> list[Arrays]:
    """What transformers' tokenizer makes of texts or pairs, in batches; one by one, where padding would change the answers."""
    limit = {"truncation": True, "max_length": first.max_length} if first.max_length else {}
    size = 1 if first.pads_leak else BATCH
    encoded = []
    for start in range(0, len(sides[0]), size):
        strings = ([decoded(text) for text in side[start : start + size]] for side in sides)
        batch = first.hf_tokenizer(*strings, padding=True, **limit)
        encoded.append({name: np.array(batch[name], np.int32) for name in batch})
    return encoded


def _logits(signature: Any, sides: list[list[bytes]], batch: int | None) -> np.ndarray:
    """float32 [texts, labels], of what was saved; `batch`: the number of texts of a call, where it is fixed."""
    found = []
    size = batch or BATCH
    for start in range(0, len(sides[0]), size):
        rows = [side[start : start + size] for side in sides]
        filling = [b"a"] * (size - len(rows[0]) if batch else 0)
        arguments = {name: tf.constant([*side, *filling]) for name, side in zip((FIRST, SECOND), rows)}
        found.append(signature(**arguments)[CLASS_LOGITS].numpy()[: len(rows[0])])
    return np.concatenate(found)


def _difference(name: str, found: np.ndarray, expected: np.ndarray, limit: float) -> float:
    """The largest absolute difference; raises where a row is further off than `tolerances.allowed`, or where shapes differ."""
    if found.shape != expected.shape:
        raise VerificationError(f"{name}: shape {list(found.shape)}, not {list(expected.shape)}")
    differences = np.abs(found.astype(np.float64) - expected).max(axis=-1, initial=0.0)
    most = allowed(limit, expected)
    if not (differences <= most).all():
        row = int((~(differences <= most)).argmax())
        raise VerificationError(
            f"{name}: differs from the reference by {differences.flat[row]:.2e} (allowed {most.flat[row]:.1e})"
        )
    return float(differences.max(initial=0.0))
