"""NFC and NFKC: decomposition, canonical order, and composition of what stands together (Unicode Standard Annex 15).

Decompositions, classes of marks and compositions are asked of the installed `tokenizers`, whose Unicode version counts.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import tensorflow as tf
from tokenizers import normalizers

from tf_exporter.tokenizers.code_points import CodePointNormalizer
from tf_exporter.tokenizers.double_arrays import PairTable
from tf_exporter.tokenizers.growing import growing, grown, joined
from tf_exporter.tokenizers.probing import NormalizerTables, probe_normalizer
from tf_exporter.tokenizers.stream import (
    ADDED_TOKEN_BASE,
    Stream,
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
from tf_exporter.tokenizers.tables import UNICODE_SIZE, CodePointTable

_STARTER, _SECOND, _MARK = range(3)


class Composition:
    """NFC (or NFKC) as `tokenizers` has it, skipped for batches in which nothing can change."""

    def __init__(self, compatibility: bool, added_token_count: int) -> None:
        decomposition = probe_normalizer(normalizers.NFKD() if compatibility else normalizers.NFD())
        composed = probe_normalizer(normalizers.NFKC() if compatibility else normalizers.NFC())
        pairs = probe_compositions()
        self._decompose = CodePointNormalizer(decomposition, added_token_count)
        size = UNICODE_SIZE + added_token_count
        # Few codes are ever composed: they are numbered from 1 on, all others are 0.
        numbers = np.zeros(size, np.int32)
        involved = sorted({code for pair in pairs for code in pair})
        numbers[involved] = np.arange(1, len(involved) + 1)
        self._numbers = CodePointTable(numbers)
        numbered = {(int(numbers[first]), int(numbers[second])): code for (first, second), code in pairs.items()}
        self._pairs = PairTable(numbered, len(involved) + 1, default=-1)
        ranks, kinds, changing = np.zeros(size, np.int32), np.zeros(size, np.int32), np.zeros(size, np.int32)
        kinds[[second for _, second in pairs]] = _SECOND
        for code, rank in decomposition.ranks.items():
            ranks[code] = rank
            kinds[code] = _MARK
        changing[[*composed.changed, *(second for _, second in pairs), *decomposition.ranks]] = 1
        self._changing = CodePointTable(changing)
        self._ranks, self._kinds = CodePointTable(ranks), CodePointTable(kinds)

    def __call__(self, stream: Stream) -> Stream:
        """The composed stream."""
        changing = tf.reduce_any(self._changing(stream.codes) > 0)
        return rarely(changing, lambda: self._compose(self._decompose(stream)), stream)

    def _compose(self, stream: Stream) -> Stream:
        """Composes each starter with what follows it, group by group in parallel.

        A group is a starter that is never second in a composition, and what follows up to the next such starter.
        """
        kind = self._kinds(stream.codes)
        added = stream.codes >= ADDED_TOKEN_BASE
        heads = (kind == _STARTER) | row_starts(stream) | shift_right(added, first=False)
        ends = run_ends(~shift_left(heads, last=True)) + 1
        # A group without a starter begins with a mark, which nothing composes with.
        head = places(heads)
        end = tf.gather(ends, head)
        ranks = tf.concat([self._ranks(stream.codes), [0]], 0)
        longer = places(end > head + 1)
        head, end = tf.gather(head, longer), tf.gather(end, longer)
        # A mark that stays blocks those of its class behind it.
        alike = tf.concat([(ranks[1:-1] == ranks[:-2]) & ~heads[1:], [False]], 0)[: count(heads)]
        behind = run_ends(alike) + 1
        found = [growing(tf.int32) for _ in range(3)]
        state = head + 1, end, head, tf.gather(stream.codes, head), tf.zeros_like(head), *found
        vectors = [tf.TensorShape([None])] * 5
        *_, base, composed, at = tf.while_loop(
            lambda at, *_: count(at) > 0,
            lambda *state: self._one(stream.codes, ranks, behind, *state),
            state,
            shape_invariants=(*vectors, *[tf.TensorShape([])] * 3),
            parallel_iterations=1,
        )
        base, composed, at = (joined(of, tf.int32) for of in (base, composed, at))
        # Of one starter the last composition counts, which has the highest place.
        order = tf.argsort(at, stable=True)
        base, composed = tf.gather(base, order), tf.gather(composed, order)
        last = places(tf.concat([base[1:] != base[:-1], [True]], 0)[: count(base)])
        base, composed = tf.gather(base, last), tf.gather(composed, last)
        codes = tf.tensor_scatter_nd_update(stream.codes, base[:, tf.newaxis], composed)
        kept = tf.scatter_nd(at[:, tf.newaxis], tf.ones_like(at), [count(codes)]) == 0
        row_splits = tf.gather(offsets(tf.cast(kept, tf.int32)), stream.row_splits)
        return Stream(tf.boolean_mask(codes, kept), row_splits)

    def _one(
        self,
        codes: tf.Tensor,
        ranks: tf.Tensor,
        behind: tf.Tensor,
        at: tf.Tensor,
        end: tf.Tensor,
        base: tf.Tensor,
        current: tf.Tensor,
        last: tf.Tensor,
        *found: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        """One more code of every group; all int32 [groups] from `at` on.

        `behind`: the place behind a run of marks of one class; `base`: the place of the starter, `current`: what it has
        become, `last`: the rank of the mark before `at` that stayed, 0 where none did; `found`: places of starters, what
        they become, and places of what they take in.
        """
        code, rank = tf.gather(codes, at), tf.gather(ranks, at)
        # A mark is blocked by one of its own class, and a second starter by any mark.
        composed = self._pairs(self._numbers(current), self._numbers(code), (last == 0) | (last < rank))
        fits = composed >= 0
        fitting = places(fits)
        found = tuple(grown(vectors, tf.gather(of, fitting)) for vectors, of in zip(found, (base, composed, at)))
        fresh = ~fits & (rank == 0)
        base = select(fresh, at, base)
        current = select(fits, composed, select(fresh, code, current))
        last = select(fits, last, rank)
        at = select(fits | (rank == 0), at + 1, tf.gather(behind, at))
        going = places(at < end)
        return (*(tf.gather(of, going) for of in (at, end, base, current, last)), *found)


@lru_cache(maxsize=1)
def probe_compositions() -> dict[tuple[int, int], int]:
    """What two code points compose to, where they do."""
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
