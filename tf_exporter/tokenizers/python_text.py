"""What Python's own strings do, in TensorFlow ops: `str.lower`, and the classes `str.split` and `str.strip` go by.

Python was asked about every code point, as its Unicode version is the reference's.
"""

from __future__ import annotations

import string
from functools import lru_cache

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.code_points import CodePointNormalizer
from tf_exporter.tokenizers.probing import NormalizerTables, code_points
from tf_exporter.tokenizers.stream import Stream, count, rarely, run_ends, select
from tf_exporter.tokenizers.tables import UNICODE_SIZE, CodePointTable

_SIGMA, _FINAL_SIGMA = 0x3A3, 0x3C2
_CASED, _IGNORED = 1, 2
"""Unicode's Cased and Case_Ignorable, in the order in which Python asks for them: what is both is ignored."""


@lru_cache(maxsize=1)
def _lower_case() -> dict[int, tuple[int, ...]]:
    """What each code point becomes by itself, where that is not itself."""
    return {code: tuple(map(ord, chr(code).lower())) for code in code_points() if chr(code).lower() != chr(code)}


@lru_cache(maxsize=1)
def _classes() -> np.ndarray:
    """int32 [UNICODE_SIZE]: what a code point is to a sigma behind it."""
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
    """Bool [UNICODE_SIZE]: where `str.split` cuts."""
    found = np.zeros(UNICODE_SIZE, bool)
    found[[code for code in code_points() if not chr(code).split()]] = True
    return found


def punctuation() -> np.ndarray:
    """Bool [UNICODE_SIZE]: `string.punctuation`."""
    found = np.zeros(UNICODE_SIZE, bool)
    found[[*map(ord, string.punctuation)]] = True
    return found


class LowerCase:
    """`str.lower`"""

    def __init__(self) -> None:
        self._code_points = CodePointNormalizer(NormalizerTables(_lower_case()), 0)
        self._table = CodePointTable(_classes())

    def __call__(self, stream: Stream) -> Stream:
        """Each code point by itself; what depends on those around it is `final_sigmas`' part."""
        return self._code_points(stream)

    def final_sigmas(self, codes: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
        """int32 [N]: Σ at the end of a word as ς already.

        `inside`, bool [N]: what belongs to a string; there is something else between any two strings.
        """
        sigmas = inside & (codes == _SIGMA)

        def replace() -> tf.Tensor:
            classes = select(inside, self._table(codes), 0)
            # What is next behind and next before each place that is not ignored.
            behind = _class_at_or_behind(classes)[1:]
            before = tf.reverse(_class_at_or_behind(tf.reverse(classes, [0]))[1:], [0])
            return select(sigmas & (before == _CASED) & (behind != _CASED), _FINAL_SIGMA, codes)

        return rarely(tf.reduce_any(sigmas), replace, codes)


def _class_at_or_behind(classes: tf.Tensor) -> tf.Tensor:
    """int32 [N] → int32 [N + 1]: the first class at each place or behind it that is not ignored; 0 where there is none."""
    place = tf.concat([run_ends(classes == _IGNORED), count(classes)[tf.newaxis]], 0)
    return tf.gather(tf.concat([classes, [0]], 0), place)
