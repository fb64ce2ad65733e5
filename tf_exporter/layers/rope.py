"""Rotary positions (J. Su et al., 2021), scaled as in `transformers.modeling_rope_utils` 5.24."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.untyped import Json

LAYER_TYPES = ("full_attention", "sliding_attention")
"""The attention of a layer: to all tokens, or to those in a window."""
MOST = 2**31
"""Upper bound of positions, lengths and factors."""
_CIRCLE = np.float32(2 * math.pi)


@dataclass(frozen=True)
class Rope:
    """The rotary positions of heads of one size."""

    frequencies: tuple[float, ...]
    """Radians per position: float32 numbers, one for two rotated features of a head."""
    scaling: float = 1.0
    """Factor of cosines and sines."""
    max_length: int | None = None
    """The longest text in tokens whose frequencies do not depend on other texts; None: any."""


class Temperature(NamedTuple):
    """A factor of queries that grows with position: 1 + beta · ln(1 + ⌊position / length⌋)."""

    beta: float
    length: int
    """The number of positions, in tokens, with the same factor."""


@dataclass(frozen=True)
class RopeParameters:
    """The rotary positions of a config, for heads of any size."""

    file: str
    key: str
    """The key of these parameters, for messages."""
    frequencies: Callable[[int], np.ndarray]
    """Computes radians per position, float32 [size / 2], from the size of a head."""
    scaling: float = 1.0
    """As in `Rope`."""
    max_length: int | None = None
    """As in `Rope`."""

    def for_head_size(self, size: int) -> Rope:
        """The rotary positions of heads of this size.

        Raises:
            UnsupportedError: the frequencies are not finite, or the size is odd.
        """
        try:
            with np.errstate(all="ignore"):
                values = self.frequencies(size).astype(np.float32)
        except (ArithmeticError, ValueError):
            values = np.array([np.nan], np.float32)
        if (
            values.shape != (size / 2,)
            or not np.isfinite([*values, np.float32(self.scaling)]).all()
        ):
            supported = f"finite frequencies, and an even head size: it is {size} here"
            raise UnsupportedError(self.file, self.key, values[:4].tolist(), supported)
        return Rope(tuple(values.tolist()), self.scaling, self.max_length)


def powers(theta: float, size: int, count: int | None = None) -> np.ndarray:
    """theta^(2i / size), float32 [count or size / 2].

    The powers are exact and rounded once. Torch computes the same without vector instructions. With
    them, about one power in a hundred differs in the last place. At position 32,768, this makes
    1e-5 radians with the bases of popular models, and 2e-3 with any other.
    """
    steps = 2 * np.arange(size // 2 if count is None else count)
    exponents = (steps.astype(np.float32) / np.float32(size)).astype(np.float64)
    result: np.ndarray = np.power(np.float64(np.float32(theta)), exponents).astype(np.float32)
    return result


def inverse_powers(theta: float, size: int) -> np.ndarray:
    """The frequencies without scaling, float32 [size / 2]."""
    result: np.ndarray = np.float32(1) / powers(theta, size)
    return result


def _number(file: ConfigFile, key: str, *, required: bool = True, zero: bool = False) -> Json:
    """A positive number; None: it is not required, and absent or null."""
    kinds = (int, float) if required else (int, float, type(None))
    value = file.take(key, kinds, required=required)
    if value is not None and not (0 < value < MOST or (zero and value == 0)):
        raise file.unsupported(key, "a positive number")
    return value


def _default(file: ConfigFile, theta: float, positions: int) -> dict[str, Any]:
    return {"frequencies": lambda size: inverse_powers(theta, size)}


def _linear(file: ConfigFile, theta: float, positions: int) -> dict[str, Any]:
    factor = np.float32(_number(file, "factor"))
    return {"frequencies": lambda size: inverse_powers(theta, size) / factor}


def _dynamic(file: ConfigFile, theta: float, positions: int) -> dict[str, Any]:
    """NTK scaling: the base grows once a text is longer than `positions`."""
    factor = _number(file, "factor")

    def frequencies(size: int) -> np.ndarray:
        # The reference starts with this base, which differs from theta only by rounding.
        grown: float = theta * ((factor * positions / positions) - (factor - 1)) ** (
            size / (size - 2)
        )
        return inverse_powers(grown, size)

    return {"frequencies": frequencies, "max_length": positions}


def _proportional(file: ConfigFile, theta: float, positions: int) -> dict[str, Any]:
    """Only a share of the features of each head is rotated."""
    factor = _number(file, "factor", required=False) or 1.0
    share = file.take("partial_rotary_factor", (int, float), 1.0)
    if not 0 <= share <= 1:
        raise file.unsupported("partial_rotary_factor", "a number from 0 to 1")

    def frequencies(size: int) -> np.ndarray:
        rotated = int(share * size // 2)
        zeros = np.zeros(size // 2 - rotated, np.float32)
        result: np.ndarray = np.concatenate(
            [np.float32(1) / powers(theta, size, rotated), zeros]
        ) / np.float32(factor)
        return result

    return {"frequencies": frequencies}


def _yarn(file: ConfigFile, theta: float, positions: int) -> dict[str, Any]:
    """YaRN (B. Peng et al., 2023): low frequencies are divided, with a ramp to the high ones."""
    original = _original(file, positions)
    file.take("factor", (int, float, type(None)), required=True)
    factor = _number(file, "factor", required=False)
    factor = positions / original if factor is None else factor
    fast, slow = (
        _number(file, key, required=False, zero=True) for key in ("beta_fast", "beta_slow")
    )
    scale, scale_all = (
        _number(file, key, required=False, zero=True) for key in ("mscale", "mscale_all_dim")
    )
    scaling = _number(file, "attention_factor", required=False)
    truncate = file.take("truncate", bool, True)
    if scaling is None and scale and scale_all:
        scaling = _mscale(factor, scale) / _mscale(factor, scale_all)
    elif scaling is None:
        scaling = _mscale(factor, 1)

    def bound(rotations: float, size: int) -> float:
        return size * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    def frequencies(size: int) -> np.ndarray:
        low, high = bound(fast or 32, size), bound(slow or 1, size)
        if truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, size - 1)
        high += 0.001 * (low == high)
        ramp = (np.arange(size // 2, dtype=np.float32) - np.float32(low)) / np.float32(high - low)
        kept = 1 - np.clip(ramp, 0, 1)
        plain = powers(theta, size)
        divided = np.float32(1) / (np.float32(factor) * plain)
        result: np.ndarray = divided * (1 - kept) + np.float32(1) / plain * kept
        return result

    return {"frequencies": frequencies, "scaling": scaling}


def _mscale(factor: float, scale: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0


def _longrope(file: ConfigFile, theta: float, positions: int) -> dict[str, Any]:
    """LongRoPE (Y. Ding et al., 2024): each frequency has a divisor.

    The reference has other divisors for batches that are longer than the original length.
    """
    original = _original(file, positions)
    factor, scaling = (
        _number(file, "factor", required=False),
        _number(file, "attention_factor", required=False),
    )
    short, long = (file.take(key, list, required=True) for key in ("short_factor", "long_factor"))
    for key, values in (("short_factor", short), ("long_factor", long)):
        if not all(type(value) in (int, float) and 0 < value < MOST for value in values) or len(
            short
        ) != len(long):
            raise file.unsupported(
                key,
                "positive numbers, in lists of the same length for short_factor and long_factor",
            )
    factor = positions / original if factor is None else factor
    if scaling is None:
        scaling = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    divisors = np.array(short, np.float32)
    return {
        "frequencies": lambda size: np.float32(1) / (divisors * powers(theta, size)),
        "scaling": scaling,
        "max_length": original,
    }


def _llama3(file: ConfigFile, theta: float, positions: int) -> dict[str, Any]:
    """Llama 3.1: low frequencies are divided, high ones kept, those between interpolated."""
    factor, low, high = (_number(file, f"{name}factor") for name in ("", "low_freq_", "high_freq_"))
    length = _original(file, positions)
    longest, shortest = np.float32(length / low), np.float32(length / high)

    def frequencies(size: int) -> np.ndarray:
        plain = inverse_powers(theta, size)
        waves = np.float32(1) / plain * _CIRCLE
        divided = np.where(waves > longest, plain / np.float32(factor), plain)
        smooth = (np.float32(1) / waves * np.float32(length) - np.float32(low)) / np.float32(
            high - low
        )
        between = (1 - smooth) * divided / np.float32(factor) + smooth * divided
        return np.where((waves >= shortest) & (waves <= longest), between, divided)

    return {"frequencies": frequencies}


def _original(file: ConfigFile, positions: int) -> int:
    original: int = file.take("original_max_position_embeddings", int, positions)
    if not 2 <= original < MOST:
        raise file.unsupported("original_max_position_embeddings", "a number of at least 2")
    return original


ROPE_TYPES: dict[str, Callable[[ConfigFile, float, int], dict[str, Any]]] = {
    "default": _default,
    "dynamic": _dynamic,
    "linear": _linear,
    "llama3": _llama3,
    "longrope": _longrope,
    "proportional": _proportional,
    "yarn": _yarn,
}
"""Readers by type: parameters, base, max_position_embeddings → fields of `RopeParameters`."""
