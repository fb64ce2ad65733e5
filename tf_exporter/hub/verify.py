"""Proof that what was saved for TensorFlow Hub answers as the model's tokenizer and transformers do."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_exporter.costs import Cost
from tf_exporter.errors import VerificationError, shortened
from tf_exporter.hub.classifier import FIRST, SECOND
from tf_exporter.hub.classifier import LOGITS as CLASS_LOGITS
from tf_exporter.hub.encoder import DEFAULT_OUTPUT, LAYERS, LOGITS, POOLED, POSITIONS, SEQUENCE, Parts
from tf_exporter.hub.preprocessing import INPUTS, MASK, TYPE_IDS, WORD_IDS
from tf_exporter.hub.reference import Arrays, answers
from tf_exporter.limits import Limits
from tf_exporter.plans import BATCH, Sized, affordable, allowed_seconds, batched, is_long, mixed, others, tokens_of
from tf_exporter.reference import PATIENCE
from tf_exporter.samples import decoded, quick_texts
from tf_exporter.tokenizers.spec import TokenizerSpec
from tf_exporter.tokenizers.templates import Template
from tf_exporter.tolerances import allowed
from tf_exporter.verify import check_many_tokens

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
    note: str | None = None
    """In plain words, what the reference was, where it was not the model's folder as it is."""
    longest: str | None = None
    """In plain words, where no text as long as the model takes was compared, and why."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Text that the reference itself cannot classify → why. Such texts are not compared."""


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
    classes = ["AutoModel", *(["AutoModelForMaskedLM"] if parts.head else [])]
    expected, _, versions = answers(source, classes, requests, PATIENCE)
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


class ClassifierCheck(NamedTuple):
    """How far the logits were from transformers'."""

    rows: int
    worst: float
    versions: dict[str, str]
    longest: str | None
    """In plain words, where no text as long as the model takes was compared, and why."""
    left_out: dict[str, str]
    """Text that cannot be classified → why."""


def check_classifier(
    folder: Path, source: Path, first: Any, batch: int | None, limits: Limits, cost: Cost, memory: int
) -> ClassifierCheck:
    """Compares the logits of texts and of pairs with transformers'.

    Args:
        folder: the SavedModel.
        source: the folder of the transformers model.
        first: the module that has the tokenizer.
        batch: the number of texts of a call, where it is fixed.
        limits: how far they may be from each other.
        cost: of the model's Transformer.
        memory: bytes that there are for one text.
    """
    spec = first.tokenizer_spec
    texts = quick_texts(spec.max_length, spec.single.added, [token.content for token in spec.added_tokens])
    raw = {decoded(text): text for text in texts}
    empty = [] if spec.single.added else [text for text in raw if not first.hf_tokenizer(text)["input_ids"]]
    left_out = dict.fromkeys(map(repr, empty), "a text without any token")
    asked = [text for text in map(decoded, texts) if text not in empty]
    counted = partial(tokens_of, first.hf_tokenizer, first.max_length)
    notes, jobs = [], {}
    for name, pairs in (("classify", None), ("classify_pair", others(asked))):
        sized, note = affordable(asked, pairs, counted, first.max_length, cost, memory)
        notes.append(note)
        jobs[name] = sized, batched(sized.tokens, 1 if first.pads_leak else BATCH)
    batches = [_encoded(first, sized.some(rows)) for sized, planned in jobs.values() for rows in planned]
    seconds = PATIENCE + sum(allowed_seconds(sized.tokens, cost) for sized, _ in jobs.values())
    answered, failures, versions = answers(source, ["AutoModelForSequenceClassification"], batches, seconds)
    signatures = tf.saved_model.load(str(folder)).signatures
    pieces, worst, compared = iter(zip(answered, failures)), 0.0, 0
    for name, (sized, planned) in jobs.items():
        wanted: dict[int, np.ndarray] = {}
        for rows, (answer, failed) in zip(planned, pieces):
            left_out.update({shortened(sized.texts[rows[place]], 60): reason for place, reason in failed.items()})
            wanted.update(zip([row for place, row in enumerate(rows) if place not in failed], answer.get("logits", ())))
        order = sorted(wanted)
        if not order:
            raise VerificationError(
                f"{name}: the reference, transformers, cannot run this model: {next(iter(left_out.values()))}"
            )
        some = sized.some(order)
        sides = [some.texts] if some.pairs is None else [some.texts, some.pairs]
        long = [is_long(tokens, cost) for tokens in some.tokens]
        found = _logits(signatures[name], [[raw.get(text) or text.encode() for text in side] for side in sides], batch, long)
        worst = max(worst, _difference(name, found, np.stack([wanted[row] for row in order]), limits.score_difference))
        compared += len(order)
    return ClassifierCheck(compared, worst, versions, next(filter(None, notes), None), left_out)


def _encoded(first: Any, sized: Sized) -> Arrays:
    """What transformers' tokenizer makes of a batch of texts or pairs."""
    limit = {"truncation": True, "max_length": first.max_length} if first.max_length else {}
    sides = [sized.texts] if sized.pairs is None else [sized.texts, sized.pairs]
    batch = first.hf_tokenizer(*sides, padding=True, **limit)
    return {name: np.array(batch[name], np.int32) for name in batch}


def _logits(signature: Any, sides: list[list[bytes]], batch: int | None, long: list[bool]) -> np.ndarray:
    """float32 [texts, labels], of what was saved; `batch`: the number of texts of a call, where it is fixed."""
    found = []
    for rows in mixed(range(len(long)), long, batch or BATCH):
        filling = [b"a"] * ((batch or 0) - len(rows))
        arguments = {name: tf.constant([*(side[row] for row in rows), *filling]) for name, side in zip((FIRST, SECOND), sides)}
        found.append(signature(**arguments)[CLASS_LOGITS].numpy()[: len(rows)])
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
