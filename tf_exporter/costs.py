"""What it takes to compute a text of so many tokens, estimated: memory in bytes, and operations."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tf_exporter.transformer_spec import TransformerSpec

MOST_OPERATIONS: Mapping[str, float] = MappingProxyType({"quick": 1.5e12, "full": 2e13})
"""Level of verification → operations that its long texts may take together: 20 seconds or so, and four minutes, on two cores.

BERT-base takes 4.5e12 for one of 8,192 tokens.
"""
OPERATIONS_A_MINUTE = 6e12
"""Of two cores, about."""
SHORT = 512
"""Tokens that a text may have in any case."""
_EAGER = frozenset({"convbert", "deberta-v2", "mpnet"})
"""Without torch's fused attention in transformers: all heads' scores of a text are in memory there."""
_BIASED = frozenset({"t5", "mt5", "umt5"})
"""With it, but with a matrix for each head that is added to the scores."""
_REFERENCE_SCORES = 2.5
"""How many times all heads' scores are in memory at a time, in the reference of those two."""
_OF_FREE = 0.5
"""The part of the machine's free memory that the working memory of verification may take."""
_NAMES = {
    "layers": ("num_hidden_layers", "n_layers", "num_layers"),
    "hidden": ("hidden_size", "dim", "d_model"),
    "heads": ("num_attention_heads", "n_heads", "num_heads"),
    "inner": ("intermediate_size", "hidden_dim", "d_ff"),
}
"""Size → the keys of config.json that may have it."""


@dataclass(frozen=True)
class Cost:
    """The sizes of an encoder, as far as cost follows from them."""

    model_type: str
    layers: int
    hidden: int
    heads: int
    inner: int
    most: float = MOST_OPERATIONS["quick"]
    """Operations that the long texts of the verification may take together."""

    def operations(self, tokens: int) -> float:
        """Multiplications and additions for one text."""
        products = 2 * (4 * self.hidden**2 + 3 * self.hidden * self.inner)
        return float(self.layers) * tokens * (products + 4 * tokens * self.hidden)

    def memory(self, tokens: int) -> int:
        """Bytes for one text, weights not counted."""
        # The graph computes attention over long texts in blocks, so it never holds the scores of all heads.
        scores = _REFERENCE_SCORES if self.model_type in _EAGER | _BIASED else 0.0
        numbers = tokens * (8 * self.hidden + 4 * self.inner) + scores * self.heads * tokens**2
        # Masks of every pair of tokens, as numbers and as booleans.
        return int(4 * numbers + 6 * tokens**2)

    def longest(self, limit: int, memory: int) -> int:
        """The most tokens, up to `limit`, of a text that fits the memory and `most`; up to `SHORT`, all do."""
        fits = _most(limit, lambda tokens: self.operations(tokens) <= self.most and self.memory(tokens) <= memory)
        return max(fits, min(limit, SHORT))


def _most(limit: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to `limit` that fits, where all below one that fits do; 0 where none does."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def cost_of(transformers: Sequence[TransformerSpec], level: str) -> Cost | None:
    """That of the largest Transformer of a model; None where it has none, so that length costs little."""
    costs = [size_of(transformer, level) for transformer in transformers]
    return max(costs, key=lambda cost: cost.operations(SHORT), default=None)


def size_of(transformer: TransformerSpec, level: str) -> Cost:
    """That of one Transformer, as its config says. `level`: of the verification, "quick" or "full"."""
    values = transformer.encoder_config.values

    def size(name: str, otherwise: int) -> int:
        found = [values[key] for key in _NAMES[name] if isinstance(values.get(key), int)]
        return max(1, found[0]) if found else otherwise

    hidden = size("hidden", 768)
    layers, heads, inner = size("layers", 12), size("heads", 12), size("inner", 4 * hidden)
    return Cost(transformer.model_type, layers, hidden, heads, inner, MOST_OPERATIONS[level])


def room(weights: int) -> int:
    """Bytes that the working memory of verification may have: less where the machine has little free."""
    return min(2**30 + weights // 2, int(_OF_FREE * free_memory()))


def free_memory() -> int:
    """Bytes of memory that are free, or that the system would make free, also in the container that this runs in."""
    found = [2**40]
    for read in (_of_the_machine, _of_the_container):
        try:
            found.append(read())
        except (OSError, ValueError, IndexError, StopIteration):
            continue
    return max(0, min(found))


def _of_the_machine() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _of_the_container() -> int:
    """Of version 2 of Linux's control groups, what is under the limit; the cache of files does not count as taken."""
    place = "/sys/fs/cgroup/"
    with open(place + "memory.max", encoding="ascii") as file:
        most = int(file.read())
    with open(place + "memory.stat", encoding="ascii") as file:
        taken = {name: int(number) for name, number in (line.split() for line in file)}
    return most - taken["anon"] - taken.get("kernel", 0)
