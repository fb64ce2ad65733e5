"""Python's `str.lower` as TensorFlow ops, and the classes that `str.split` and `str.strip` use.

Python is probed for every code point, because its Unicode version is the reference.
"""

from __future__ import annotations

import string
from functools import lru_cache

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.ops.ragged import RaggedCodes, count, rarely, run_ends, select
from tf_exporter.tokenizers.ops.tables import UNICODE_SIZE, CodePointTable
from tf_exporter.tokenizers.unicode.code_points import CodePointNormalizer
from tf_exporter.tokenizers.unicode.probing import NormalizerTables, code_points

_SIGMA, _FINAL_SIGMA = 0x3A3, 0x3C2
_CASED, _IGNORED = 1, 2
"""Unicode's Cased and Case_Ignorable; Python ignores a code point that is both."""


@lru_cache(maxsize=1)
def _lower_case() -> dict[int, tuple[int, ...]]:
    """The lower case of each code point by itself, where it differs from the code point."""
    return {
        code: tuple(map(ord, chr(code).lower()))
        for code in code_points()
        if chr(code).lower() != chr(code)
    }


@lru_cache(maxsize=1)
def _classes() -> np.ndarray:
    """The class of each code point, _CASED, _IGNORED or 0: int32 [UNICODE_SIZE]."""
    classes = np.zeros(UNICODE_SIZE, np.int32)
    sigma, final = chr(_SIGMA), chr(_FINAL_SIGMA)
    for code in code_points():
        if (chr(code) + sigma).lower().endswith(final):
            classes[code] = _CASED
        elif ("a" + chr(code) + sigma).lower().endswith(final):
            classes[code] = _IGNORED
    return classes


@lru_cache(maxsize=1)
def white_space() -> np.ndarray:
    """Whether `str.split` splits at each code point: bool [UNICODE_SIZE]."""
    members = np.zeros(UNICODE_SIZE, bool)
    members[[code for code in code_points() if not chr(code).split()]] = True
    return members


def punctuation() -> np.ndarray:
    """Whether each code point is in `string.punctuation`: bool [UNICODE_SIZE]."""
    members = np.zeros(UNICODE_SIZE, bool)
    members[[*map(ord, string.punctuation)]] = True
    return members


class LowerCase:
    """`str.lower`, in two parts: call `final_sigmas` first, then the instance."""

    def __init__(self) -> None:
        self._code_points = CodePointNormalizer(NormalizerTables(_lower_case()), 0)
        self._table = CodePointTable(_classes())

    def __call__(self, texts: RaggedCodes) -> RaggedCodes:
        """The lower case of each code point by itself."""
        return self._code_points(texts)

    def final_sigmas(self, codes: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
        """The codes, with each Σ at the end of a word as ς: int32 [N].

        `inside`, bool [N]: whether a code belongs to a string; other codes separate the strings.
        """
        sigmas = inside & (codes == _SIGMA)

        def replace() -> tf.Tensor:
            classes = select(inside, self._table(codes), 0)
            # The nearest classes after and before each position that are not ignored.
            after = _class_at_or_after(classes)[1:]
            before = tf.reverse(_class_at_or_after(tf.reverse(classes, [0]))[1:], [0])
            return select(sigmas & (before == _CASED) & (after != _CASED), _FINAL_SIGMA, codes)

        return rarely(tf.reduce_any(sigmas), replace, codes)


def _class_at_or_after(classes: tf.Tensor) -> tf.Tensor:
    """The first class at or after each position that is not ignored, or 0: int32 [N + 1]."""
    place = tf.concat([run_ends(classes == _IGNORED), count(classes)[tf.newaxis]], 0)
    return tf.gather(tf.concat([classes, [0]], 0), place)
