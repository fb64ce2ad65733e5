"""Double arrays (J. Aoe, 1989): tries over symbols, and functions of pairs of symbols, that need gathers only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.stream import count, places, select
from tf_exporter.tokenizers.tables import UNICODE_SIZE, CodePointTable, graph_constant

_DENSE_STEPS = 4
"""Walks that outlive these steps are few: from there on only they are carried."""
_STRIDE = 3
"""Steps between two looks at whether any walk goes on, which cost as much as a step of few walks."""


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
        self._free[:2] = False  # DEAD and ROOT
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


def _ranges(start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """All numbers of the ranges that begin at `start`, one range after the other."""
    before = np.cumsum(length) - length
    numbers: np.ndarray = np.repeat(start - before, length) + np.arange(length.sum())
    return numbers


class Trie:
    """A double-array trie (J. Aoe, 1989) over symbols ≥ 1, walked for many positions at once.

    A state is a slot; `DEAD` and `ROOT` are slots 0 and 1. Symbol 0 leads nowhere from everywhere.

    Of each state, int32: `value` of the word that ends there (−1: none), `depth` in symbols, and `longest_word`: the last
    state on the way to it from `ROOT` in which a word ends (`DEAD`: none).
    """

    DEAD = 0
    ROOT = 1

    def __init__(self, words: Mapping[tuple[int, ...], int], prefix: tuple[int, ...] = ()) -> None:
        """`words`: symbol sequences → values ≥ 0. `prefix`: symbols whose node can be started from as well."""
        children, values = _children(words)
        self.symbol_count = 1 + max((symbol for word in words for symbol in word), default=0)
        slots = _Slots(2 * len(children) + self.symbol_count)
        slot = np.full(len(children), self.ROOT, np.int64)
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
        self._base = np.zeros(size, np.int32)
        self.values = value = np.full(size, -1, np.int32)
        depth, longest_word = np.zeros(size, np.int32), np.full(size, self.DEAD, np.int32)
        self._check[slot[nodes]] = slot[parents]
        self._base[slot] = base
        value[slot] = values
        edges = np.flatnonzero(parents == 0)
        while len(edges):
            above, below = slot[parents[edges]], slot[nodes[edges]]
            depth[below] = depth[above] + 1
            longest_word[below] = np.where(value[below] >= 0, below, longest_word[above])
            edges = _ranges(first_edge[nodes[edges]], fan_out[nodes[edges]])
        self.max_depth = int(depth.max())
        self.prefix_state = self._walk_one(prefix)
        self._bases, self._checks = graph_constant(self._base), graph_constant(self._check)
        self.value, self.depth, self.longest_word = map(graph_constant, (value, depth, longest_word))

    def _walk_one(self, symbols: Iterable[int]) -> int:
        state = self.ROOT
        for symbol in symbols:
            following = int(self._base[state]) + symbol
            if symbol == 0 or following >= len(self._check) or self._check[following] != state:
                return self.DEAD
            state = following
        return state

    def first_states(self, start: int) -> np.ndarray:
        """int32 [symbol_count]: the state after one symbol from `start` (`ROOT` or `prefix_state`)."""
        symbols = np.arange(self.symbol_count)
        following = self._base[start] + symbols
        found = (self._check[following] == start) & (symbols > 0) & (start != self.DEAD)
        return np.where(found, following, self.DEAD).astype(np.int32)

    def ends_word(self, state: tf.Tensor) -> tf.Tensor:
        """Whether a word ends in each state."""
        return tf.gather(self.value, state) >= 0

    def advance(self, state: tf.Tensor, symbol: tf.Tensor) -> tf.Tensor:
        """One step of every walk: the states after `symbol`; int32 [N] each."""
        following = tf.gather(self._bases, state) + symbol
        return select(tf.gather(self._checks, following) == state, following, self.DEAD)

    def deeper(self, state: tf.Tensor, deepest: tf.Tensor, symbol: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """As `advance`, and where each walk came to in the end; int32 [N] each."""
        following = tf.gather(self._bases, state) + symbol
        goes_on = tf.gather(self._checks, following) == state
        return select(goes_on, following, self.DEAD), select(goes_on, following, deepest)

    def start(self, symbols: tf.Tensor) -> tf.Tensor:
        """The state after one symbol from `ROOT`; int32 [N] each."""
        following = int(self._base[self.ROOT]) + symbols
        return select((symbols > 0) & (tf.gather(self._checks, following) == self.ROOT), following, self.DEAD)

    def longest(self, state: tf.Tensor, following: tf.Tensor) -> tf.Tensor:
        """int32 [N]: the last state in which a word ends on the way from `ROOT` over each place, `DEAD` where none does.

        `state`: after the symbol of each place; `following`: the symbols, 0 where a way from the place before ends.
        """
        length = count(state)
        padded = tf.pad(following, [[0, _DENSE_STEPS + 1]])
        deepest = state
        for step in range(1, min(_DENSE_STEPS, self.max_depth - 1) + 1):
            state, deepest = self.deeper(state, deepest, padded[step : step + length])
        if self.max_depth - 1 > _DENSE_STEPS:
            alive = places(state > self.DEAD)
            padded = padded[: length + 1]

            def further(step: tf.Tensor, state: tf.Tensor, deepest: tf.Tensor) -> tuple[tf.Tensor, ...]:
                for ahead in range(_STRIDE):
                    symbol = tf.gather(padded, tf.minimum(alive + (step + ahead), length))
                    state, deepest = self.deeper(state, deepest, symbol)
                return step + _STRIDE, state, deepest

            *_, found = tf.while_loop(
                lambda step, state, _: (step < self.max_depth) & tf.reduce_any(state > self.DEAD),
                further,
                (tf.constant(_DENSE_STEPS + 1), tf.gather(state, alive), tf.gather(deepest, alive)),
                parallel_iterations=1,
            )
            deepest = tf.tensor_scatter_nd_update(deepest, alive[:, tf.newaxis], found)
        return tf.gather(self.longest_word, deepest)


def string_trie(values: Mapping[str, int], added_token_count: int, prefix: str = "") -> tuple[CodePointTable, Trie]:
    """Strings → values ≥ 0, as the symbol of each code (0: in none of the strings) and a trie over symbols.

    `prefix`: as in `Trie`.
    """
    alphabet = sorted({char for text in values for char in text})
    symbols = {char: symbol for symbol, char in enumerate(alphabet, start=1)}
    table = np.zeros(UNICODE_SIZE + added_token_count, np.int32)
    table[[ord(char) for char in alphabet]] = np.arange(1, len(alphabet) + 1)
    words = {tuple(symbols[char] for char in text): value for text, value in values.items()}
    return CodePointTable(table), Trie(words, tuple(symbols.get(char, 0) for char in prefix))


class PairTable:
    """A function of two numbers ≥ 0, kept as a double array: each first number has an offset into one table."""

    def __init__(self, values: Mapping[tuple[int, int], int], size: int, default: int) -> None:
        """`values` ≥ 0; `size`: above all numbers that are ever asked for; `default`: the value of all other pairs."""
        first, second = np.array(list(values) or [(0, 0)], np.int64).T
        results = np.array(list(values.values()) or [default], np.int32)
        order = np.lexsort((second, first))
        first, second, results = first[order], second[order], results[order]
        owners, begin, fan_out = np.unique(first, return_index=True, return_counts=True)
        base = np.zeros(size, np.int64)
        slots = _Slots(2 * len(first) + int(second.max()) + 2)
        for index in np.argsort(-fan_out, kind="stable")[: np.count_nonzero(fan_out > 1)]:
            base[owners[index]] = slots.place(second[begin[index] : begin[index] + fan_out[index]])
        single = np.repeat(fan_out, fan_out) == 1
        base[first[single]] = slots.place_singles(second[single])
        place = base[first] + second
        owner = np.full(int(base.max()) + size, -1, np.int32)
        value = np.full(len(owner), default, np.int32)
        owner[place], value[place] = first, results
        # One table less for the loops that go on with it.
        self._base_and_owner = graph_constant(np.concatenate([base + size, owner]).astype(np.int32))
        self._value = graph_constant(np.concatenate([np.full(size, default, np.int32), value]))
        self._default = default

    def __call__(self, first: tf.Tensor, second: tf.Tensor, asked: tf.Tensor) -> tf.Tensor:
        """int32 [N] each → int32 [N]; the default where `asked`, bool [N], is false."""
        place = tf.gather(self._base_and_owner, first) + second
        known = asked & (tf.gather(self._base_and_owner, place) == first)
        return select(known, tf.gather(self._value, place), self._default)
