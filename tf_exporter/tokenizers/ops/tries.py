"""Double arrays (J. Aoe, 1989): tries over symbols, and tables of pairs, read by gathers alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.ops.ragged import count, places, select
from tf_exporter.tokenizers.ops.tables import UNICODE_SIZE, CodePointTable, graph_constant

_DENSE_STEPS = 4
"""Steps that are computed for all walks. Longer walks are rare; only those go on from there."""
_STRIDE = 3
"""Steps between two checks for walks that go on; a check costs as much as a small step."""


def _children(words: Mapping[tuple[int, ...], int]) -> tuple[list[dict[int, int]], list[int]]:
    """The {symbol: child} and the value of each node of the trie (−1: no word ends there)."""
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
    """The free slots of a double array.

    Nodes with many children are placed first; single children fill the gaps.
    """

    _WINDOW = 1024

    def __init__(self, size: int) -> None:
        self._free = np.ones(size, bool)
        self._free[:2] = False  # DEAD and ROOT
        self._start = 2

    def place(self, symbols: np.ndarray) -> int:
        """A base ≥ 0 for which every base + symbol is free; takes those slots."""
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
            # A window without room for these symbols rarely has room for later ones.
            self._start = max(self._start, start - 4 * self._WINDOW)

    def place_singles(self, symbols: np.ndarray) -> np.ndarray:
        """The base of each node that has a single child, given the children's symbols."""
        lowest = int(symbols.max(initial=0))
        missing = len(symbols) + lowest + 2
        self._free = np.concatenate([self._free, np.ones(missing, bool)])
        slots = np.flatnonzero(self._free[lowest:])[: len(symbols)] + lowest
        self._free[slots] = False
        bases: np.ndarray = slots - symbols
        return bases


def _ranges(start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """The numbers of the ranges start … start + length − 1, one range after the other."""
    before = np.cumsum(length) - length
    numbers: np.ndarray = np.repeat(start - before, length) + np.arange(length.sum())
    return numbers


class Trie:
    """A double-array trie over symbols ≥ 1, walked from many positions at once.

    A state is the index of a slot; `DEAD` is 0 and `ROOT` is 1. Symbol 0 always leads to `DEAD`.

    Each state has three int32 values: `value` of the word that ends there (−1: none), `depth` in
    symbols, and `longest_word`, the last state on the path to it that ends a word (`DEAD`: none).
    """

    DEAD = 0
    ROOT = 1

    def __init__(self, words: Mapping[tuple[int, ...], int], prefix: tuple[int, ...] = ()) -> None:
        """`words`: symbol sequences → values ≥ 0. `prefix`: symbols that lead to `prefix_state`."""
        children, values = _children(words)
        self.symbol_count = 1 + max((symbol for word in words for symbol in word), default=0)
        slots = _Slots(2 * len(children) + self.symbol_count)
        slot = np.full(len(children), self.ROOT, np.int64)
        base = np.zeros(len(children), np.int64)
        parents = np.array(
            [node for node, following in enumerate(children) for _ in following], np.int64
        )
        nodes = np.array(
            [child for following in children for child in following.values()], np.int64
        )
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
        self.value, self.depth, self.longest_word = map(
            graph_constant, (value, depth, longest_word)
        )

    def _walk_one(self, symbols: Iterable[int]) -> int:
        state = self.ROOT
        for symbol in symbols:
            following = int(self._base[state]) + symbol
            if symbol == 0 or following >= len(self._check) or self._check[following] != state:
                return self.DEAD
            state = following
        return state

    def first_states(self, start: int) -> np.ndarray:
        """The state after each symbol from `ROOT` or `prefix_state`: int32 [symbol_count]."""
        symbols = np.arange(self.symbol_count)
        following = self._base[start] + symbols
        exists = (self._check[following] == start) & (symbols > 0) & (start != self.DEAD)
        return np.where(exists, following, self.DEAD).astype(np.int32)

    def ends_word(self, state: tf.Tensor) -> tf.Tensor:
        """Whether a word ends in each state."""
        return tf.gather(self.value, state) >= 0

    def advance(self, state: tf.Tensor, symbol: tf.Tensor) -> tf.Tensor:
        """One step of every walk: the states after one more symbol; int32 [N] each."""
        following = tf.gather(self._bases, state) + symbol
        return select(tf.gather(self._checks, following) == state, following, self.DEAD)

    def deeper(
        self, state: tf.Tensor, deepest: tf.Tensor, symbol: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """`advance`, and the last live state of each walk; int32 [N] each."""
        following = tf.gather(self._bases, state) + symbol
        goes_on = tf.gather(self._checks, following) == state
        return select(goes_on, following, self.DEAD), select(goes_on, following, deepest)

    def start(self, symbols: tf.Tensor) -> tf.Tensor:
        """The states after one symbol from `ROOT`; int32 [N] each."""
        following = int(self._base[self.ROOT]) + symbols
        return select(
            (symbols > 0) & (tf.gather(self._checks, following) == self.ROOT), following, self.DEAD
        )

    def longest(self, state: tf.Tensor, following: tf.Tensor) -> tf.Tensor:
        """The states in which the longest words from each position end, `DEAD` for none: int32 [N].

        `state`: the state after the symbol of each position; `following`: the symbols, 0 where
        walks from earlier positions end; int32 [N] each.
        """
        length = count(state)
        padded = tf.pad(following, [[0, _DENSE_STEPS + 1]])
        deepest = state
        for step in range(1, min(_DENSE_STEPS, self.max_depth - 1) + 1):
            state, deepest = self.deeper(state, deepest, padded[step : step + length])
        if self.max_depth - 1 > _DENSE_STEPS:
            alive = places(state > self.DEAD)
            padded = padded[: length + 1]

            def further(
                step: tf.Tensor, state: tf.Tensor, deepest: tf.Tensor
            ) -> tuple[tf.Tensor, ...]:
                for ahead in range(_STRIDE):
                    symbol = tf.gather(padded, tf.minimum(alive + (step + ahead), length))
                    state, deepest = self.deeper(state, deepest, symbol)
                return step + _STRIDE, state, deepest

            *_, deepest_alive = tf.while_loop(
                lambda step, state, _: (step < self.max_depth) & tf.reduce_any(state > self.DEAD),
                further,
                (tf.constant(_DENSE_STEPS + 1), tf.gather(state, alive), tf.gather(deepest, alive)),
                parallel_iterations=1,
            )
            deepest = tf.tensor_scatter_nd_update(deepest, alive[:, tf.newaxis], deepest_alive)
        return tf.gather(self.longest_word, deepest)


def string_trie(
    values: Mapping[str, int], added_token_count: int, prefix: str = ""
) -> tuple[CodePointTable, Trie]:
    """A trie of strings: the table of each code's symbol (0: in no string) and a trie over symbols.

    `values`: strings → values ≥ 0; `prefix`: the string that leads to `Trie.prefix_state`.
    """
    alphabet = sorted({char for text in values for char in text})
    symbols = {char: symbol for symbol, char in enumerate(alphabet, start=1)}
    table = np.zeros(UNICODE_SIZE + added_token_count, np.int32)
    table[[ord(char) for char in alphabet]] = np.arange(1, len(alphabet) + 1)
    words = {tuple(symbols[char] for char in text): value for text, value in values.items()}
    return CodePointTable(table), Trie(words, tuple(symbols.get(char, 0) for char in prefix))


class PairTable:
    """Pairs of numbers ≥ 0 → int32. Each first number has an offset into one shared table."""

    def __init__(self, values: Mapping[tuple[int, int], int], size: int, default: int) -> None:
        """`values` ≥ 0; `size` exceeds all numbers looked up; `default` is for all other pairs."""
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
        # One tensor for both, because loops pass every tensor that they use from step to step.
        self._base_and_owner = graph_constant(np.concatenate([base + size, owner]).astype(np.int32))
        self._value = graph_constant(np.concatenate([np.full(size, default, np.int32), value]))
        self._default = default

    def __call__(self, first: tf.Tensor, second: tf.Tensor, allowed: tf.Tensor) -> tf.Tensor:
        """int32 [N] each → int32 [N]; the default where `allowed`, bool [N], is false."""
        place = tf.gather(self._base_and_owner, first) + second
        known = allowed & (tf.gather(self._base_and_owner, place) == first)
        return select(known, tf.gather(self._value, place), self._default)
