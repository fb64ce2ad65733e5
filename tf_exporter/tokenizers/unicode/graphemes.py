"""Extended grapheme clusters (Unicode Standard Annex 29), as in Precompiled of `tokenizers`.

The classes are probed, because the Unicode version is that of the crate inside `tokenizers`. The
probes are Precompiled normalizers that know one character: a short cluster that begins with it
loses all its other characters, which shows whether two characters are in one cluster.

Rules that matter only for clusters of 6 bytes or more (regional flags) are left out: those clusters
are replaced character by character.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
from tokenizers import normalizers

from tf_exporter.tokenizers.ops.ragged import (
    RaggedCodes,
    count,
    offsets,
    section_starts,
    shift_right,
)
from tf_exporter.tokenizers.ops.tables import UNICODE_SIZE, CodePointTable
from tf_exporter.tokenizers.unicode.probing import distinct_code_points, spread

(
    CONTROL,
    EXTEND,
    JOINER,
    PREPEND,
    LEAD,
    VOWEL,
    TRAIL,
    SYLLABLE,
    PICTURE,
    CONSONANT,
    LINKER,
    LINK_EXTEND,
    PICTURE_EXTEND,
    CR,
    LF,
) = (1 << bit for bit in range(15))
"""Bits of a code point's class. SYLLABLE: a Hangul syllable, with VOWEL (LV) or TRAIL (LVT)."""

_ACUTE, _GRAVE, _ZWJ, _VIRAMA = "\u0301", "\u0300", "\u200d", "\u094d"
_KNOWN = "="
_BETWEEN = "\x02\x03"
_CHUNK = 512
_VALUE = 0


class Clusters:
    """The grapheme clusters of texts."""

    def __init__(self, added_token_count: int) -> None:
        self._classes = CodePointTable(
            np.concatenate([probe_clusters(), np.full(added_token_count, CONTROL, np.int32)])
        )

    def may_join(self, texts: RaggedCodes) -> tf.Tensor:
        """Whether any cluster may have more than one code: a cheap test, false for most batches."""
        classes = self._classes(texts.codes)
        return tf.reduce_any(
            tf.bitwise.bitwise_and(classes, EXTEND | PREPEND | LF | VOWEL | TRAIL | LEAD) > 0
        )

    def joined(self, texts: RaggedCodes) -> tf.Tensor:
        """Whether each code is in the cluster of the code before it: bool [N]."""
        classes = self._classes(texts.codes)
        before = shift_right(classes, first=CONTROL)

        def now(bits: int) -> tf.Tensor:
            return tf.bitwise.bitwise_and(classes, bits) > 0

        def was(bits: int) -> tf.Tensor:
            return tf.bitwise.bitwise_and(before, bits) > 0

        syllable = now(SYLLABLE)
        hangul = was(LEAD) & (now(LEAD) | now(VOWEL) | syllable)
        hangul |= was(VOWEL) & (now(VOWEL) | now(TRAIL)) & ~syllable
        hangul |= was(TRAIL) & now(TRAIL) & ~syllable
        pictures = (
            was(JOINER) & now(PICTURE) & self._preceded(classes, PICTURE, PICTURE_EXTEND, skipped=1)
        )
        # If a linker is between two consonants, more linkers are before the second one.
        links = offsets(tf.cast(now(LINKER), tf.int32))[:-1]
        consonants = now(CONSONANT) & self._preceded(
            classes, CONSONANT, LINKER | LINK_EXTEND, skipped=0, links=links
        )
        together = now(EXTEND) | was(PREPEND) | hangul | pictures | consonants
        joined = (together & ~was(CONTROL) & ~now(CONTROL)) | (was(CR) & now(LF))
        return joined & ~section_starts(texts)

    def _preceded(
        self,
        classes: tf.Tensor,
        wanted: int,
        between: int,
        skipped: int,
        links: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Whether a `wanted` code precedes each code, with only `between` codes in the gap.

        The last `skipped` codes before each code do not count. `links`, if given, is the number of
        linkers before each code; the gap then has to have a linker.
        """
        size = count(classes)
        stops = tf.bitwise.bitwise_and(classes, between) == 0
        places = tf.concat([[-1], tf.cast(tf.where(stops)[:, 0], tf.int32)], 0)
        passed = tf.concat(
            [tf.zeros([skipped + 1], tf.int32), tf.cumsum(tf.cast(stops, tf.int32))], 0
        )[:size]
        place = tf.gather(places, passed)
        index = tf.maximum(place, 0)
        is_wanted = (place >= 0) & (tf.bitwise.bitwise_and(tf.gather(classes, index), wanted) > 0)
        return is_wanted if links is None else is_wanted & (links > tf.gather(links, index))


@lru_cache(maxsize=1)
def probe_clusters() -> np.ndarray:
    """The class of each code point, as bits: int32 [UNICODE_SIZE]."""
    every = [chr(code) for code in distinct_code_points()]
    classes = np.zeros(UNICODE_SIZE, np.int32)

    def mark(bit: int, chars: list[str]) -> None:
        classes[[ord(char) for char in chars]] |= bit

    extend = [
        char
        for char, text in zip(every, _normalized(["a" + char for char in every], "a"))
        if text == _KNOWN
    ]
    mark(EXTEND, extend)
    mark(CONTROL, sorted({*every} - {*_joins(every, "{}", _GRAVE)}))
    mark(PREPEND, prepend := _joins(every, "{}", "a"))
    mark(PICTURE, _joins(every, "{}" + _ZWJ, "®"))
    mark(CONSONANT, _joins(every, "{}" + _VIRAMA, "क"))
    lead = {*_joins(every, "{}", "\u1100")} - {*prepend}
    vowel = {*_joins(every, "{}", "\u1161")} - {*prepend} - lead
    trail = {*_joins(every, "{}", "\u11a8")} - {*prepend} - vowel
    decompose = normalizers.NFD().normalize_str
    for bit, chars in ((LEAD, lead), (VOWEL, vowel), (TRAIL, trail)):
        mark(bit, sorted(chars))
        mark(SYLLABLE, sorted(char for char in chars if decompose(char) != char))
    mark(PICTURE_EXTEND, _joins(extend, "©{}" + _ZWJ, "®"))
    mark(LINKER, linkers := _joins(extend, "क{}", "क"))
    mark(LINK_EXTEND, sorted({*_joins(extend, "क" + _VIRAMA + "{}", "क")} - {*linkers}))
    for bit, char in ((JOINER, _ZWJ), (CR, "\r"), (LF, "\n")):
        mark(bit, [char])
    return spread(classes)


def _joins(chars: list[str], before: str, key: str) -> list[str]:
    """The chars whose cluster goes on with `key`, where they stand for the {} of `before`.

    A mark after the key stays then. Otherwise the key begins a cluster of its own and drops it.
    """
    normalized = _normalized([before.replace("{}", char) + key + _ACUTE for char in chars], key)
    return [char for char, text in zip(chars, normalized) if text.endswith(_ACUTE)]


def _normalized(texts: list[str], key: str) -> list[str]:
    """Each text, normalized with `key` as the only known text; one call normalizes many texts."""
    normalize = normalizers.Precompiled(make_charsmap({key: _KNOWN})).normalize_str
    result: list[str] = []
    for start in range(0, len(texts), _CHUNK):
        chunk = texts[start : start + _CHUNK]
        outputs = normalize(_BETWEEN.join(chunk)).split(_BETWEEN)
        result += outputs if len(outputs) == len(chunk) else map(normalize, chunk)
    return result


def make_charsmap(texts: dict[str, str]) -> bytes:
    """A table of these replacements in the format of `Precompiled` (see precompiled.py)."""
    trie: dict[int, Any] = {}
    pool = b""
    for text, replacement in texts.items():
        node = trie
        for byte in text.encode():
            node = node.setdefault(byte, {})
        node[_VALUE] = len(pool)
        pool += replacement.encode() + b"\0"
    units, taken = [0] * 2**13, {0}

    def place(node: dict[int, Any], position: int) -> None:
        base = next(
            base
            for base in range(1, 2**12)
            if base not in taken and all(base ^ label not in taken for label in node if label)
        )
        units[position] |= (position ^ base) << 10
        taken.update({base, *(base ^ label for label in node)})
        for label, child in node.items():
            if label == _VALUE:
                units[position] |= 1 << 8
                units[base] = child | 1 << 31
            else:
                units[base ^ label] = label
                place(child, base ^ label)

    place(trie, 0)
    return struct.pack(f"<I{len(units)}I", 4 * len(units), *units) + pool
