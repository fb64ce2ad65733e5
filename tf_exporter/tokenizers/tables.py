"""Constant tables that live in the graph: functions of a code point, and tries over symbols.

A table is an eager constant captured by the functions that read it, so that the SavedModel holds each table once however
many signatures use it. Both kinds need gathers only: no hash tables, which servers have to initialise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

UNICODE_SIZE = 0x110000
BLOCK_BITS = 7
BLOCK_SIZE = 1 << BLOCK_BITS


def graph_constant(values: np.ndarray) -> tf.Tensor:
    """`values` as a tensor on the host, to be captured once and shared by all functions."""
    with tf.device("/CPU:0"):
        return tf.constant(values)


class CodePointTable:
    """An int32 function of a code, stored in two levels: a block index and the distinct blocks.

    `values` covers the codes 0 … len(values) − 1; codes from `UNICODE_SIZE` on stand for added tokens.
    """

    def __init__(self, values: np.ndarray) -> None:
        padded = np.zeros(-(-len(values) // BLOCK_SIZE) * BLOCK_SIZE, np.int32)
        padded[: len(values)] = values
        places: dict[bytes, int] = {}
        index = [places.setdefault(block.tobytes(), len(places)) for block in padded.reshape(-1, BLOCK_SIZE)]
        self._index = graph_constant(np.array(index, np.int32) * BLOCK_SIZE)
        self._blocks = graph_constant(np.frombuffer(b"".join(places), np.int32))

    def __call__(self, codes: tf.Tensor) -> tf.Tensor:
        """int32 codes of any shape → int32 values of the same shape."""
        block = tf.gather(self._index, tf.bitwise.right_shift(codes, BLOCK_BITS))
        return tf.gather(self._blocks, block + tf.bitwise.bitwise_and(codes, BLOCK_SIZE - 1))


def _children(words: Mapping[tuple[int, ...], int]) -> tuple[list[dict[int, int]], list[int]]:
    """The trie as one {symbol: node} a node and the value of each node (−1: no word ends here)."""
    children: list[dict[int, int]] = [{}]
    values = [-1]
    for word, value in words.items():
        node = 0
        for symbol in word:
            following = children[node].get(symbol)
            if following is None:
                following = children[node][symbol] = len(children)
                children.append({})
                values.append(-1)
            node = following
        values[node] = value
    return children, values


class _Slots:
    """Free slots of a double array. Nodes with many children are placed first; single children fill the holes."""

    _WINDOW = 1024

    def __init__(self, size: int) -> None:
        self._free = np.ones(size, bool)
        self._free[:2] = False  # ROOT and DEAD
        self._start = 2

    def place(self, symbols: np.ndarray) -> int:
        """A base ≥ 0 with every base + symbol free; those slots are then taken."""
        start = max(self._start, int(symbols[0]))
        while True:
            missing = start + self._WINDOW + int(symbols[-1]) + 1 - len(self._free)
            if missing > 0:
                self._free = np.concatenate([self._free, np.ones(missing + len(self._free), bool)])
            bases = np.flatnonzero(self._free[start : start + self._WINDOW]) + (start - symbols[0])
            fits = self._free[bases[:, np.newaxis] + symbols[1:]].all(axis=1)
            if fits.any():
                base = int(bases[fits.argmax()])
                self._free[base + symbols] = False
                return base
            start += self._WINDOW
            # A window without room for these symbols has little for the sets to come.
            self._start = max(self._start, start - 4 * self._WINDOW)

    def place_singles(self, symbols: np.ndarray) -> np.ndarray:
        """A base for each node that has one child only, by its symbol."""
        lowest = int(symbols.max(initial=0))
        missing = len(symbols) + lowest + 2
        self._free = np.concatenate([self._free, np.ones(missing, bool)])
        slots = np.flatnonzero(self._free[lowest:])[: len(symbols)] + lowest
        self._free[slots] = False
        bases: np.ndarray = slots - symbols
        return bases


class Trie:
    """A double-array trie (J. Aoe, 1989) over symbols ≥ 1, walked for many positions at once.

    A state is a slot; `ROOT` and `DEAD` are slots 0 and 1. Slot s keeps `base` and whether a word ends there in one
    int32, and the state it is reached from. Symbol 0 leads nowhere from everywhere.
    """

    ROOT = 0
    DEAD = 1

    def __init__(self, words: Mapping[tuple[int, ...], int], prefix: tuple[int, ...] = ()) -> None:
        """`words`: symbol sequences → values ≥ 0. `prefix`: symbols whose node can be started from as well."""
        children, values = _children(words)
        self.symbol_count = 1 + max((symbol for word in words for symbol in word), default=0)
        slots = _Slots(2 * len(children) + self.symbol_count)
        slot = np.zeros(len(children), np.int64)
        base = np.zeros(len(children), np.int64)
        parents = np.array([node for node, following in enumerate(children) for _ in following], np.int64)
        nodes = np.array([child for following in children for child in following.values()], np.int64)
        symbols = np.array([symbol for following in children for symbol in following], np.int64)
        fan_out = np.bincount(parents, minlength=len(children))
        first_edge = np.concatenate([[0], np.cumsum(fan_out)])
        for node in np.argsort(-fan_out, kind="stable")[: np.count_nonzero(fan_out > 1)]:
            base[node] = slots.place(np.sort(symbols[first_edge[node] : first_edge[node + 1]]))
        single = fan_out[parents] == 1
        base[parents[single]] = slots.place_singles(symbols[single])
        slot[nodes] = base[parents] + symbols
        size = int(max(slot.max(), base.max())) + self.symbol_count + 1
        self._check = np.full(size, -1, np.int32)
        self._step = np.zeros(size, np.int32)
        value = np.full(size, -1, np.int32)
        depth_of = np.zeros(size, np.int32)
        self._check[slot[nodes]] = slot[parents]
        self._step[slot] = base * 2 + (np.array(values) >= 0)
        value[slot] = values
        self.max_depth = 0
        frontier, depth = [0], 0
        while frontier:
            depth_of[slot[frontier]] = depth
            self.max_depth = depth
            frontier = [child for node in frontier for child in children[node].values()]
            depth += 1
        self.prefix_state = self._walk_one(prefix)
        self.step, self.check = graph_constant(self._step), graph_constant(self._check)
        self.value, self.depth = graph_constant(value), graph_constant(depth_of)

    def _walk_one(self, symbols: Iterable[int]) -> int:
        state = self.ROOT
        for symbol in symbols:
            following = int(self._step[state]) // 2 + symbol
            if symbol == 0 or following >= len(self._check) or self._check[following] != state:
                return self.DEAD
            state = following
        return state

    def first_states(self, start: int) -> np.ndarray:
        """int32 [symbol_count]: the state after one symbol from `start` (`ROOT` or `prefix_state`)."""
        symbols = np.arange(self.symbol_count)
        following = self._step[start] // 2 + symbols
        found = (self._check[following] == start) & (symbols > 0) & (start != self.DEAD)
        return np.where(found, following, self.DEAD).astype(np.int32)

    def advance(self, state: tf.Tensor, best: tf.Tensor, symbol: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One step of every walk: (state, last state a word ended in) → the same after `symbol` (all int32 [N])."""
        step = tf.gather(self.step, state)
        best = tf.where(tf.bitwise.bitwise_and(step, 1) > 0, state, best)
        following = tf.bitwise.right_shift(step, 1) + symbol
        return tf.where(tf.gather(self.check, following) == state, following, self.DEAD), best
