"""Estimates of the memory and the operations that a text of a given length takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tf_exporter.modules.transformer.config import TransformerSpec

MOST_OPERATIONS: Mapping[str, float] = MappingProxyType({"quick": 1.5e12, "full": 2e13})
"""Level of verification → operations that its long texts may take together.

On two cores that is about 20 seconds or four minutes. BERT-base takes 4.5e12 for 8,192 tokens.
"""
OPERATIONS_A_MINUTE = 6e12
"""Roughly, on two cores."""
SHORT = 512
"""The number of tokens that a text may always have."""
_EAGER = frozenset({"convbert", "deberta-v2", "gemma2", "mpnet"})
"""Types without fused attention in transformers, which hold the scores of all heads in memory."""
_BIASED = frozenset({"t5", "mt5", "umt5"})
"""Types with fused attention, but with a matrix for each head that is added to the scores."""
_REFERENCE_SCORES = 2.5
"""The number of copies of all heads' scores that those types hold in memory at a time."""
_FREE_SHARE = 0.5
"""The share of the machine's free memory that verification may use as working memory."""
_NAMES = {
    "layers": ("num_hidden_layers", "n_layers", "num_layers"),
    "hidden": ("hidden_size", "dim", "d_model"),
    "heads": ("num_attention_heads", "n_heads", "num_heads"),
    "inner": ("intermediate_size", "hidden_dim", "d_ff"),
}
"""Size → the keys of config.json that may hold it."""


@dataclass(frozen=True)
class Cost:
    """The sizes of an encoder that determine its cost."""

    model_type: str
    layers: int
    hidden: int
    heads: int
    inner: int
    most: float = MOST_OPERATIONS["quick"]
    """Operations that the long texts of a verification may take together."""
    most_in_full: float = MOST_OPERATIONS["full"]
    """The same for `--verify full`; 0 if the export does not have that level."""

    def operations(self, tokens: int) -> float:
        """The number of multiplications and additions for one text."""
        products = 2 * (4 * self.hidden**2 + 3 * self.hidden * self.inner)
        return float(self.layers) * tokens * (products + 4 * tokens * self.hidden)

    def memory(self, tokens: int) -> int:
        """The bytes that one text takes, without weights."""
        # The graph never holds the scores of all heads: it computes long texts in blocks.
        scores = _REFERENCE_SCORES if self.model_type in _EAGER | _BIASED else 0.0
        numbers = tokens * (8 * self.hidden + 4 * self.inner) + scores * self.heads * tokens**2
        # Masks of all pairs of tokens, as floats and as booleans.
        return int(4 * numbers + 6 * tokens**2)

    def longest(self, limit: int, memory: int) -> int:
        """The most tokens that a text may have, up to `limit`.

        Its operations stay within `most`, its memory within `memory` bytes. `SHORT` always fits.
        """
        fits = _most(
            limit,
            lambda tokens: self.operations(tokens) <= self.most and self.memory(tokens) <= memory,
        )
        return max(fits, min(limit, SHORT))


def _most(limit: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to `limit` that fits, or 0. All numbers below it must fit, too."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def cost_of(transformers: Sequence[TransformerSpec], level: str) -> Cost | None:
    """The cost of a model's largest Transformer; None without one, as length then costs little."""
    costs = [size_of(transformer, level) for transformer in transformers]
    return max(costs, key=lambda cost: cost.operations(SHORT), default=None)


def size_of(transformer: TransformerSpec, level: str, has_full: bool = True) -> Cost:
    """The cost of one Transformer, for a verification of `level` "quick" or "full".

    `has_full`: whether the export has the level "full".
    """
    values = transformer.encoder_config.values

    def size(name: str, otherwise: int) -> int:
        sizes = [values[key] for key in _NAMES[name] if isinstance(values.get(key), int)]
        return max(1, sizes[0]) if sizes else otherwise

    hidden = size("hidden", 768)
    layers, heads, inner = size("layers", 12), size("heads", 12), size("inner", 4 * hidden)
    return Cost(
        transformer.model_type,
        layers,
        hidden,
        heads,
        inner,
        MOST_OPERATIONS[level],
        MOST_OPERATIONS["full"] if has_full else 0.0,
    )


def room(weights: int) -> int:
    """The bytes of working memory that verification may use, for `weights` bytes of weights."""
    return min(2**30 + weights // 2, int(_FREE_SHARE * free_memory()))


def free_memory() -> int:
    """The bytes of available memory, in the machine and in the container that this runs in."""
    sizes = [2**40]
    for read in (_free_in_machine, _free_in_container):
        try:
            sizes.append(read())
        except (OSError, ValueError, IndexError, StopIteration):
            continue
    return max(0, min(sizes))


def _free_in_machine() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(
                int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:")
            )
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _free_in_container() -> int:
    """The bytes below the limit of the control group (version 2); the file cache counts as free."""
    folder = "/sys/fs/cgroup/"
    with open(folder + "memory.max", encoding="ascii") as file:
        limit = int(file.read())
    with open(folder + "memory.stat", encoding="ascii") as file:
        used = {name: int(number) for name, number in (line.split() for line in file)}
    return limit - used["anon"] - used.get("kernel", 0)
