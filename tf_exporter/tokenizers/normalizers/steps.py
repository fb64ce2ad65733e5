"""The normalizers of `tokenizers`, for the text between added tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
import tensorflow as tf
from tokenizers import normalizers

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.tokenizers.normalizers.precompiled import Precompiled
from tf_exporter.tokenizers.ops.ragged import (
    ADDED_TOKEN_BASE,
    RaggedCodes,
    count,
    expand,
    offsets,
    rarely,
    reachable_ahead,
    run_ends,
    section_starts,
    select,
    shift_left,
)
from tf_exporter.tokenizers.ops.spans import gathered
from tf_exporter.tokenizers.ops.tables import CodePointTable, graph_constant
from tf_exporter.tokenizers.patterns.pattern import Pattern, read_pattern
from tf_exporter.tokenizers.spec import Part
from tf_exporter.tokenizers.unicode.code_points import CodePointNormalizer
from tf_exporter.tokenizers.unicode.composition import Composition
from tf_exporter.tokenizers.unicode.probing import probe_normalizer, probe_white_space

_LONGEST_TEXT = 256
"""The most characters that Prepend and Replace may insert."""
Step = Callable[[RaggedCodes], RaggedCodes]

_BY_CODE_POINT = ("Lowercase", "StripAccents", "Nmt")
_ORDERING = ("BertNormalizer", "NFD", "NFKD")
"""These sort combining marks into canonical order too."""


class Strip:
    """Removes white space at the start and the end of each section between added tokens."""

    def __init__(self, left: bool, right: bool, added_token_count: int) -> None:
        self._left, self._right = left, right
        self._space = CodePointTable(
            np.concatenate([probe_white_space(), np.zeros(added_token_count, bool)]).astype(
                np.int32
            )
        )

    def __call__(self, texts: RaggedCodes) -> RaggedCodes:
        space = self._space(texts.codes) > 0
        inside = (texts.codes < ADDED_TOKEN_BASE) & ~section_starts(texts)
        removed = tf.zeros_like(space)
        if self._right:
            removed |= _to_the_end(space, shift_left(inside, last=False))
        if self._left:
            removed |= tf.reverse(_to_the_end(tf.reverse(space, [0]), tf.reverse(inside, [0])), [0])
        return _in_copies(texts, 1 - tf.cast(removed, tf.int32))[0]


def _to_the_end(space: tf.Tensor, goes_on: tf.Tensor) -> tf.Tensor:
    """The white space at the end of a section; `goes_on`: whether the next code is in it too."""
    return space & (run_ends(space) > run_ends(goes_on))


class Prepend:
    """Inserts a text before each section between added tokens."""

    def __init__(self, text: str) -> None:
        self._length = len(text)
        self._text = graph_constant(np.array([*map(ord, text)], np.int32))

    def __call__(self, texts: RaggedCodes) -> RaggedCodes:
        first = tf.cast(section_starts(texts), tf.int32)
        bits = (1 + self._length).bit_length()
        longer, owner, nth = _in_copies(texts, 1 + first * self._length, bits)
        inserted = nth < tf.gather(first, owner) * self._length
        codes = select(
            inserted, tf.gather(self._text, tf.minimum(nth, self._length - 1)), longer.codes
        )
        return longer._replace(codes=codes)


class Replace:
    """Replaces the matches of a pattern, from left to right."""

    def __init__(self, pattern: Pattern, content: str) -> None:
        self._pattern, self._length = pattern, len(content)
        self._content = graph_constant(np.array([*map(ord, content), 0], np.int32))

    def __call__(self, texts: RaggedCodes) -> RaggedCodes:
        return rarely(self._pattern.may_match(texts.codes), lambda: self._replace(texts), texts)

    def _replace(self, texts: RaggedCodes) -> RaggedCodes:
        starts = section_starts(texts)
        inside = (texts.codes < ADDED_TOKEN_BASE) & ~starts
        ends = run_ends(shift_left(inside, last=False)) + 1
        end = select(texts.codes < ADDED_TOKEN_BASE, self._pattern(texts.codes, ends), -1)
        following = select(end >= 0, end, tf.range(count(texts.codes)) + 1)
        reached = reachable_ahead(starts, following, ends) & (texts.codes < ADDED_TOKEN_BASE)
        match = reached & (end >= 0)
        kept = (reached & ~match) | (texts.codes >= ADDED_TOKEN_BASE)
        lengths = tf.cast(kept, tf.int32) + tf.cast(match, tf.int32) * self._length
        bits = max(self._length, 1).bit_length()
        replaced, owner, nth = _in_copies(texts, lengths, bits)
        # All of the content has the span of the last character of the match.
        return replaced._replace(
            codes=select(tf.gather(match, owner), tf.gather(self._content, nth), replaced.codes),
            spans=None
            if texts.spans is None
            else tf.gather(
                texts.spans, tf.gather(select(match, end - 1, tf.range(count(end))), owner)
            ),
        )


def _in_copies(
    texts: RaggedCodes, lengths: tf.Tensor, bits: int = 3
) -> tuple[RaggedCodes, tf.Tensor, tf.Tensor]:
    """The texts with copies of each code, the index each copy came from, and its number."""
    owner, nth = expand(lengths, bits)
    return (
        RaggedCodes(
            tf.gather(texts.codes, owner),
            tf.gather(offsets(lengths), texts.row_splits),
            gathered(texts.spans, owner),
        ),
        owner,
        nth,
    )


def build_normalizer(parts: Sequence[Part], added_token_count: int) -> list[Step]:
    """The steps of a normalizer, in order; those that map code points by themselves become one.

    Raises:
        UnsupportedError: A step is not supported.
    """
    steps: list[Step] = []
    for together, group in groupby(_grouped(parts), lambda item: item[0]):
        members = [part for _, part in group]
        if together is not None:
            for config, _ in members:
                _check_by_code_point(config)
            sequence = normalizers.Sequence([step for _, step in members])
            steps.append(CodePointNormalizer(probe_normalizer(sequence), added_token_count))
        else:
            steps.extend(_build(config, added_token_count) for config, _ in members)
    return steps


def _grouped(parts: Sequence[Part]) -> list[tuple[int | None, Part]]:
    """Each part with the number of its group, which is probed as one; None for other parts.

    At most one part of a group sorts marks, and no Replace follows it.
    """
    grouped: list[tuple[int | None, Part]] = []
    number, ordered = 0, False
    for config, step in parts:
        kind = config.values["type"]
        alone = not (kind in _BY_CODE_POINT or kind in _ORDERING or _replaces_one(config))
        if alone or (ordered and (kind in _ORDERING or kind == "Replace")):
            number, ordered = number + 1, False
        ordered |= kind in _ORDERING
        grouped.append((None if alone else number, (config, step)))
    return grouped


def _replaces_one(config: ConfigFile) -> bool:
    return (
        config.values["type"] == "Replace" and len(config.values["pattern"].get("String", "")) == 1
    )


def _short(config: ConfigFile, key: str) -> str:
    text: str = config.take(key, str)
    if len(text) > _LONGEST_TEXT:
        raise config.unsupported(key, f"at most {_LONGEST_TEXT} characters")
    return text


def _check_by_code_point(config: ConfigFile) -> None:
    """Refuses unknown keys and long texts; what the step does is probed."""
    if "content" in config:
        _short(config, "content")
    flags = (
        "clean_text",
        "handle_chinese_chars",
        "strip_accents",
        "lowercase",
        "pattern",
        "content",
    )
    config.finish(frozenset(("type", *flags)))


def _build(config: ConfigFile, added_token_count: int) -> Step:
    kind = config.take("type", str)
    if kind == "Strip":
        left, right = config.take("strip_left", bool), config.take("strip_right", bool)
        config.finish()
        return Strip(left, right, added_token_count)
    if kind == "Prepend":
        text = _short(config, "prepend")
        config.finish()
        return Prepend(text) if text else lambda texts: texts
    if kind == "Replace":
        content = _short(config, "content")
        pattern = read_pattern(config, added_token_count)
        config.finish()
        return Replace(pattern, content)
    if kind in ("NFC", "NFKC"):
        config.finish()
        return Composition(compatibility=kind == "NFKC", added_token_count=added_token_count)
    charsmap = config.take("precompiled_charsmap", str)
    config.finish()
    return Precompiled(charsmap, config, added_token_count)
