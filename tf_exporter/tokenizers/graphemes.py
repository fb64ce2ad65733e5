"""Extended grapheme clusters (Unicode Standard Annex 29), as the Precompiled normalizer of `tokenizers` sees them.

Its Unicode version is that of the crate it was built with, so its classes are found by asking it: a table of replacements
made for the purpose shows whether two characters are in one cluster, as a short cluster that begins with a known character
loses all others. Rules that only matter for clusters of 6 bytes and more (flags of regions) are left out: those clusters
are replaced character by character.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
from tokenizers import normalizers

from tf_exporter.tokenizers.probing import distinct_code_points, spread
from tf_exporter.tokenizers.stream import Stream, count, offsets, section_starts, shift_right
from tf_exporter.tokenizers.tables import UNICODE_SIZE, CodePointTable

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
"""Bits of a code point's class. SYLLABLE: a Hangul syllable, together with VOWEL (LV) or TRAIL (LVT)."""

_ACUTE, _GRAVE, _ZWJ, _VIRAMA = "\u0301", "\u0300", "\u200d", "\u094d"
_KNOWN = "="
_BETWEEN = "\x02\x03"
_CHUNK = 512
_VALUE = 0


class Clusters:
    """Which codes belong to the cluster of the code before."""

    def __init__(self, added_token_count: int) -> None:
        self._classes = CodePointTable(np.concatenate([probe_clusters(), np.full(added_token_count, CONTROL, np.int32)]))

    def may_join(self, stream: Stream) -> tf.Tensor:
        """Whether any cluster may have more than one code: a cheap test that most batches fail."""
        classes = self._classes(stream.codes)
        return tf.reduce_any(tf.bitwise.bitwise_and(classes, EXTEND | PREPEND | LF | VOWEL | TRAIL | LEAD) > 0)

    def joined(self, stream: Stream) -> tf.Tensor:
        """Bool [N]: whether a code is in the cluster of the code before it."""
        classes = self._classes(stream.codes)
        before = shift_right(classes, first=CONTROL)

        def now(bits: int) -> tf.Tensor:
            return tf.bitwise.bitwise_and(classes, bits) > 0

        def was(bits: int) -> tf.Tensor:
            return tf.bitwise.bitwise_and(before, bits) > 0

        syllable = now(SYLLABLE)
        hangul = was(LEAD) & (now(LEAD) | now(VOWEL) | syllable)
        hangul |= was(VOWEL) & (now(VOWEL) | now(TRAIL)) & ~syllable
        hangul |= was(TRAIL) & now(TRAIL) & ~syllable
        pictures = was(JOINER) & now(PICTURE) & self._behind(classes, PICTURE, PICTURE_EXTEND, skipped=1)
        # Of a linker on the way from one consonant to the next there are more before the second.
        links = offsets(tf.cast(now(LINKER), tf.int32))[:-1]
        consonants = now(CONSONANT) & self._behind(classes, CONSONANT, LINKER | LINK_EXTEND, skipped=0, links=links)
        together = now(EXTEND) | was(PREPEND) | hangul | pictures | consonants
        joined = (together & ~was(CONTROL) & ~now(CONTROL)) | (was(CR) & now(LF))
        return joined & ~section_starts(stream)

    def _behind(self, classes: tf.Tensor, wanted: int, between: int, skipped: int, links: tf.Tensor | None = None) -> tf.Tensor:
        """Whether going back from each code, over the `skipped` codes before it and all `between`, leads to one `wanted`.

        With `links`, the number of linkers before each code: and passes a linker on the way.
        """
        size = count(classes)
        stops = tf.bitwise.bitwise_and(classes, between) == 0
        places = tf.concat([[-1], tf.cast(tf.where(stops)[:, 0], tf.int32)], 0)
        passed = tf.concat([tf.zeros([skipped + 1], tf.int32), tf.cumsum(tf.cast(stops, tf.int32))], 0)[:size]
        place = tf.gather(places, passed)
        at = tf.maximum(place, 0)
        found = (place >= 0) & (tf.bitwise.bitwise_and(tf.gather(classes, at), wanted) > 0)
        return found if links is None else found & (links > tf.gather(links, at))


@lru_cache(maxsize=1)
def probe_clusters() -> np.ndarray:
    """int32 [UNICODE_SIZE]: the bits of each code point's class."""
    every = [chr(code) for code in distinct_code_points()]
    found = np.zeros(UNICODE_SIZE, np.int32)

    def mark(bit: int, chars: list[str]) -> None:
        found[[ord(char) for char in chars]] |= bit

    extend = [char for char, text in zip(every, _normalized(["a" + char for char in every], "a")) if text == _KNOWN]
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
    return spread(found)


def _joins(chars: list[str], before: str, key: str) -> list[str]:
    """Those chars that make `key`, behind `before`, a part of their cluster.

    A mark behind the key stays then; else the key loses it, as the start of a cluster of its own.
    """
    normalized = _normalized([before.replace("{}", char) + key + _ACUTE for char in chars], key)
    return [char for char, text in zip(chars, normalized) if text.endswith(_ACUTE)]


def _normalized(texts: list[str], key: str) -> list[str]:
    """Each text, with `key` as the one thing known, by itself; many are normalized in one call."""
    normalize = normalizers.Precompiled(make_charsmap({key: _KNOWN})).normalize_str
    found: list[str] = []
    for start in range(0, len(texts), _CHUNK):
        chunk = texts[start : start + _CHUNK]
        outputs = normalize(_BETWEEN.join(chunk)).split(_BETWEEN)
        found += outputs if len(outputs) == len(chunk) else map(normalize, chunk)
    return found


def make_charsmap(texts: dict[str, str]) -> bytes:
    """A table of replacements (see precompiled.py) with these few entries."""
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
            base for base in range(1, 2**12) if base not in taken and all(base ^ label not in taken for label in node if label)
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
