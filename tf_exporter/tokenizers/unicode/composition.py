"""NFC and NFKC: decomposition, canonical order and composition (Unicode Standard Annex 15).

Decompositions, combining classes and compositions are probed from the installed `tokenizers`,
because its Unicode version is the reference.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import tensorflow as tf
from tokenizers import normalizers

from tf_exporter.tokenizers.ops.lists import append_vector, concatenate_vectors, empty_vector_list
from tf_exporter.tokenizers.ops.ragged import (
    ADDED_TOKEN_BASE,
    RaggedCodes,
    count,
    offsets,
    places,
    rarely,
    row_starts,
    run_ends,
    select,
    shift_left,
    shift_right,
)
from tf_exporter.tokenizers.ops.tables import UNICODE_SIZE, CodePointTable
from tf_exporter.tokenizers.ops.tries import PairTable
from tf_exporter.tokenizers.unicode.code_points import CodePointNormalizer
from tf_exporter.tokenizers.unicode.probing import NormalizerTables, probe_normalizer

_STARTER, _SECOND, _MARK = range(3)


class Composition:
    """NFC (or NFKC) as in `tokenizers`, skipped for batches in which nothing can change."""

    def __init__(self, compatibility: bool, added_token_count: int) -> None:
        decomposition = probe_normalizer(normalizers.NFKD() if compatibility else normalizers.NFD())
        composed = probe_normalizer(normalizers.NFKC() if compatibility else normalizers.NFC())
        pairs = probe_compositions()
        self._decompose = CodePointNormalizer(decomposition, added_token_count)
        size = UNICODE_SIZE + added_token_count
        # Few codes ever compose. They are numbered from 1; all others are 0.
        numbers = np.zeros(size, np.int32)
        involved = sorted({code for pair in pairs for code in pair})
        numbers[involved] = np.arange(1, len(involved) + 1)
        self._numbers = CodePointTable(numbers)
        numbered = {
            (int(numbers[first]), int(numbers[second])): code
            for (first, second), code in pairs.items()
        }
        self._pairs = PairTable(numbered, len(involved) + 1, default=-1)
        ranks, kinds, changing = (
            np.zeros(size, np.int32),
            np.zeros(size, np.int32),
            np.zeros(size, np.int32),
        )
        kinds[[second for _, second in pairs]] = _SECOND
        for code, rank in decomposition.ranks.items():
            ranks[code] = rank
            kinds[code] = _MARK
        changing[[*composed.changed, *(second for _, second in pairs), *decomposition.ranks]] = 1
        self._changing = CodePointTable(changing)
        self._ranks, self._kinds = CodePointTable(ranks), CodePointTable(kinds)

    def __call__(self, texts: RaggedCodes) -> RaggedCodes:
        changing = tf.reduce_any(self._changing(texts.codes) > 0)
        return rarely(changing, lambda: self._composed(texts), texts)

    def _composed(self, texts: RaggedCodes) -> RaggedCodes:
        if texts.spans is None:
            return self._compose(self._decompose(texts))
        # The spans are numbers of codes here: the codes that a new one takes the place of.
        place = tf.range(count(texts.codes))[:, tf.newaxis]
        decomposed = self._decompose(texts._replace(spans=place))
        assert decomposed.spans is not None
        place = decomposed.spans[:, 0]
        taken = tf.cast(place != shift_right(place, first=-1), tf.int32)
        composed = self._compose(decomposed._replace(spans=taken[:, tf.newaxis]))
        assert composed.spans is not None
        taken = composed.spans[:, 0]
        # A code that takes no place has the span of the code before it.
        source = tf.cumsum(taken, exclusive=True) - tf.cast(taken == 0, tf.int32)
        return composed._replace(spans=tf.gather(texts.spans, source))

    def _compose(self, texts: RaggedCodes) -> RaggedCodes:
        """Composes each starter with the codes after it, in all groups at once.

        A group begins with a starter that is never second in a composition, and ends before the
        next such starter. A starter adds the spans of the codes that it absorbs, which are numbers.
        """
        kind = self._kinds(texts.codes)
        added = texts.codes >= ADDED_TOKEN_BASE
        heads = (kind == _STARTER) | row_starts(texts) | shift_right(added, first=False)
        ends = run_ends(~shift_left(heads, last=True)) + 1
        # A group that begins with a mark has no starter, and nothing in it composes with the mark.
        head = places(heads)
        end = tf.gather(ends, head)
        ranks = tf.concat([self._ranks(texts.codes), [0]], 0)
        longer = places(end > head + 1)
        head, end = tf.gather(head, longer), tf.gather(end, longer)
        # A mark that stays blocks the marks of its class right after it.
        same_class = tf.concat([(ranks[1:-1] == ranks[:-2]) & ~heads[1:], [False]], 0)[
            : count(heads)
        ]
        after_class = run_ends(same_class) + 1
        lists = [empty_vector_list(tf.int32) for _ in range(3)]
        state = head + 1, end, head, tf.gather(texts.codes, head), tf.zeros_like(head), *lists
        vectors = [tf.TensorShape([None])] * 5
        *_, base, composed, position = tf.while_loop(
            lambda position, *_: count(position) > 0,
            lambda *state: self._next_code(texts.codes, ranks, after_class, *state),
            state,
            shape_invariants=(*vectors, *[tf.TensorShape([])] * 3),
            parallel_iterations=1,
        )
        base, composed, position = (
            concatenate_vectors(vector_list, tf.int32) for vector_list in (base, composed, position)
        )
        spans = texts.spans
        if spans is not None:
            spans = tf.tensor_scatter_nd_add(spans, base[:, tf.newaxis], tf.gather(spans, position))
        # The last composition of a starter counts: the one with the highest position.
        order = tf.argsort(position, stable=True)
        base, composed = tf.gather(base, order), tf.gather(composed, order)
        last = places(tf.concat([base[1:] != base[:-1], [True]], 0)[: count(base)])
        base, composed = tf.gather(base, last), tf.gather(composed, last)
        codes = tf.tensor_scatter_nd_update(texts.codes, base[:, tf.newaxis], composed)
        kept = tf.scatter_nd(position[:, tf.newaxis], tf.ones_like(position), [count(codes)]) == 0
        row_splits = tf.gather(offsets(tf.cast(kept, tf.int32)), texts.row_splits)
        spans = None if spans is None else tf.boolean_mask(spans, kept)
        return RaggedCodes(tf.boolean_mask(codes, kept), row_splits, spans)

    def _next_code(
        self,
        codes: tf.Tensor,
        ranks: tf.Tensor,
        after_class: tf.Tensor,
        position: tf.Tensor,
        end: tf.Tensor,
        base: tf.Tensor,
        current: tf.Tensor,
        last: tf.Tensor,
        *lists: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        """Takes one more code of every group.

        `after_class` is the end of each run of marks of one class. Each group has `position`, the
        next code; `end`, its own end; `base`, the position of its starter; `current`, the code that
        the starter has become; and `last`, the rank of the previous code if it stayed, else 0.
        `lists` hold, for each composition, the position of the starter, its new code, and the
        position of the code that it absorbs. All int32.
        """
        code, rank = tf.gather(codes, position), tf.gather(ranks, position)
        # A mark is blocked by one of its own class, and a second starter by any mark.
        composed = self._pairs(
            self._numbers(current), self._numbers(code), (last == 0) | (last < rank)
        )
        fits = composed >= 0
        fitting = places(fits)
        lists = tuple(
            append_vector(vector_list, tf.gather(vector, fitting))
            for vector_list, vector in zip(lists, (base, composed, position))
        )
        fresh = ~fits & (rank == 0)
        base = select(fresh, position, base)
        current = select(fits, composed, select(fresh, code, current))
        last = select(fits, last, rank)
        position = select(fits | (rank == 0), position + 1, tf.gather(after_class, position))
        going = places(position < end)
        return (
            *(tf.gather(vector, going) for vector in (position, end, base, current, last)),
            *lists,
        )


@lru_cache(maxsize=1)
def probe_compositions() -> dict[tuple[int, int], int]:
    """The composition of each pair of code points that has one."""
    compose = normalizers.NFC().normalize_str
    decompositions: NormalizerTables = probe_normalizer(normalizers.NFD())
    pairs = {}
    for code, parts in decompositions.changed.items():
        if len(parts) < 2:
            continue
        *rest, second = map(chr, parts)
        first = compose("".join(rest))
        if len(first) == 1 and compose(first + second) == chr(code):
            pairs[ord(first), ord(second)] = code
    return pairs
