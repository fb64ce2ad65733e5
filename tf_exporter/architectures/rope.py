"""Rotary positions (J. Su et al., 2021) and how configs stretch them, as `transformers.modeling_rope_utils` 5.23."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile

_MOST = 2**31
"""Of positions, lengths and factors."""
_CIRCLE = np.float32(2 * math.pi)
_SIZE_KEYS = ("head_dim", "hidden_size", "num_attention_heads")
"""Keys that the size of a head follows from."""


@dataclass(frozen=True)
class Rope:
    """The rotary positions of heads of one size."""

    frequencies: tuple[float, ...]
    """Radians from one place to the next, float32 numbers, half as many as a head has features."""
    scaling: float = 1.0
    """Of cosines and sines."""
    max_length: int | None = None
    """Beyond it the reference's frequencies depend on the longest text of a batch, or on earlier batches; None: they never do."""


_REFUSED = Rope(())
"""Stands in for rotary positions that were refused."""


@dataclass(frozen=True)
class RopeParameters:
    """What a config says of rotary positions, for heads of any size."""

    file: str
    key: str
    """Where it says so, for messages."""
    frequencies: Callable[[int], np.ndarray]
    """From the size of a head to float32 [size / 2], radians from one place to the next."""
    scaling: float = 1.0
    """As in `Rope`."""
    max_length: int | None = None
    """As in `Rope`."""

    def of_size(self, size: int) -> Rope:
        """The rotary positions of heads of this size.

        Raises:
            UnsupportedError: they are not finite, or the size is odd.
        """
        try:
            with np.errstate(all="ignore"):
                found = self.frequencies(size).astype(np.float32)
        except (ArithmeticError, ValueError):
            found = np.array([np.nan], np.float32)
        if found.shape != (size / 2,) or not np.isfinite([*found, np.float32(self.scaling)]).all():
            supported = f"parameters that give finite frequencies to heads of size {size}, which is even"
            raise UnsupportedError(self.file, self.key, found[:4].tolist(), supported)
        return Rope(tuple(found.tolist()), self.scaling, self.max_length)


def powers(theta: float, size: int, count: int | None = None) -> np.ndarray:
    """float32 [count or size / 2]: theta^(2i / size).

    Exact powers, rounded once. Torch's depend on the machine: without vector instructions they are these, with them about one in
    a hundred differs in its last place. At the 32,768th place that is 1e-5 radians with the bases of popular models and
    2e-3 with any (`tests/test_rotary.py`).
    """
    steps = 2 * np.arange(size // 2 if count is None else count)
    exponents = (steps.astype(np.float32) / np.float32(size)).astype(np.float64)
    found: np.ndarray = np.power(np.float64(np.float32(theta)), exponents).astype(np.float32)
    return found


def inverse_powers(theta: float, size: int) -> np.ndarray:
    """float32 [size / 2]: the frequencies where nothing is stretched."""
    found: np.ndarray = np.float32(1) / powers(theta, size)
    return found


def _number(file: ConfigFile, key: str, *, required: bool = True, zero: bool = False) -> Any:
    """A positive number; None where it is absent or null, if it may be."""
    kinds = (int, float) if required else (int, float, type(None))
    value = file.take(key, kinds, required=required)
    if value is not None and not (0 < value < _MOST or (zero and value == 0)):
        raise file.unsupported(key, "a positive number")
    return value


def _default(file: ConfigFile, theta: float, positions: int) -> dict[str, Any]:
    return {"frequencies": lambda size: inverse_powers(theta, size)}


def _linear(file: ConfigFile, theta: float, positions: int) -> dict[str, Any]:
    factor = np.float32(_number(file, "factor"))
    return {"frequencies": lambda size: inverse_powers(theta, size) / factor}


def _dynamic(file: ConfigFile, theta: float, positions: int) -> dict[str, Any]:
    """NTK scaling; the base grows with the longest text met so far, once that is longer than `positions`."""
    factor = _number(file, "factor")

    def frequencies(size: int) -> np.ndarray:
        # What the reference begins with; a factor of one but for rounding.
        grown: float = theta * ((factor * positions / positions) - (factor - 1)) ** (size / (size - 2))
        return inverse_powers(grown, size)

    return {"frequencies": frequencies, "max_length": positions}


def _proportional(file: ConfigFile, theta: float, positions: int) -> dict[str, Any]:
    """A share of each head is turned, the rest has no positions."""
    factor = _number(file, "factor", required=False) or 1.0
    share = file.take("partial_rotary_factor", (int, float), 1.0)
    if not 0 <= share <= 1:
        raise file.unsupported("partial_rotary_factor", "a number from 0 to 1")

    def frequencies(size: int) -> np.ndarray:
        turned = int(share * size // 2)
        still = np.zeros(size // 2 - turned, np.float32)
        found: np.ndarray = np.concatenate([np.float32(1) / powers(theta, size, turned), still]) / np.float32(factor)
        return found

    return {"frequencies": frequencies}


def _yarn(file: ConfigFile, theta: float, positions: int) -> dict[str, Any]:
    """YaRN (B. Peng et al., 2023): high frequencies as they are, low ones divided, a ramp between them."""
    factor, original = _number(file, "factor"), _original(file, positions)
    fast, slow = (_number(file, key, required=False, zero=True) for key in ("beta_fast", "beta_slow"))
    scale, scale_all = (_number(file, key, required=False, zero=True) for key in ("mscale", "mscale_all_dim"))
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
        found: np.ndarray = divided * (1 - kept) + np.float32(1) / plain * kept
        return found

    return {"frequencies": frequencies, "scaling": scaling}


def _mscale(factor: float, scale: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0


def _longrope(file: ConfigFile, theta: float, positions: int) -> dict[str, Any]:
    """LongRoPE (Y. Ding et al., 2024): a divisor for each frequency, others for batches longer than the original length."""
    original = _original(file, positions)
    factor, scaling = _number(file, "factor", required=False), _number(file, "attention_factor", required=False)
    short, long = (file.take(key, list, required=True) for key in ("short_factor", "long_factor"))
    for key, values in (("short_factor", short), ("long_factor", long)):
        if not all(type(value) in (int, float) and 0 < value < _MOST for value in values) or len(short) != len(long):
            raise file.unsupported(key, "positive numbers, as many in short_factor as in long_factor")
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
    """Llama 3.1: wave lengths above one bound divided, below another kept, smooth between them."""
    factor, low, high = (_number(file, f"{name}factor") for name in ("", "low_freq_", "high_freq_"))
    length = _original(file, positions)
    longest, shortest = np.float32(length / low), np.float32(length / high)

    def frequencies(size: int) -> np.ndarray:
        plain = inverse_powers(theta, size)
        waves = np.float32(1) / plain * _CIRCLE
        divided = np.where(waves > longest, plain / np.float32(factor), plain)
        smooth = (np.float32(1) / waves * np.float32(length) - np.float32(low)) / np.float32(high - low)
        between = (1 - smooth) * divided / np.float32(factor) + smooth * divided
        return np.where((waves >= shortest) & (waves <= longest), between, divided)

    return {"frequencies": frequencies}


def _original(file: ConfigFile, positions: int) -> int:
    original: int = file.take("original_max_position_embeddings", int, positions)
    if not 2 <= original < _MOST:
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
"""From parameters, base and max_position_embeddings to the fields of `RopeParameters`."""


def read_rope(file: ConfigFile, key: str, theta: float, positions: int) -> RopeParameters:
    """`theta`: the base where these parameters have none, from `key`; `positions`: the config's max_position_embeddings.

    Raises:
        UnsupportedError: a type or a parameter that is not reproduced.
    """
    if not 1 <= positions < _MOST:
        raise UnsupportedError(file.file, "max_position_embeddings", positions, "a number of at least 1")
    kind = file.take("rope_type", str, file.take("type", str, "default"))
    file.require("type", (kind,))
    if kind not in ROPE_TYPES:
        raise file.unsupported("rope_type" if "rope_type" in file else "type", ROPE_TYPES)
    theta = file.take("rope_theta", (int, float), theta)
    if not 0 < theta < float(np.finfo(np.float32).max):
        raise UnsupportedError(file.file, f"{key} or {file.at}rope_theta", theta, "a positive number")
    parameters = RopeParameters(file.file, f"{file.at}{kind}", **ROPE_TYPES[kind](file, float(theta), positions))
    if kind != "proportional":
        # The reference's models fail on it, or pass over it.
        file.require("partial_rotary_factor", (1.0, 1))
    file.finish()
    return parameters


def read_flat_rope(file: ConfigFile, theta: float, positions: int, size: int) -> Rope:
    """One set of parameters for all layers: `rope_parameters`, or what older configs call `rope_scaling` and `rope_theta`.

    `theta`: the base where there is none; `positions`: the config's max_position_embeddings; `size`: of a head.
    """
    new, old = (file.take(key, (dict, type(None))) or {} for key in ("rope_parameters", "rope_scaling"))
    theta = file.take("rope_theta", (int, float), theta)
    original = file.take("original_max_position_embeddings", int)
    file.require("partial_rotary_factor", (1.0, 1, None))
    values = dict(old or new)
    if original is not None and values.get("rope_type", values.get("type")) in ("llama3", "yarn", "longrope"):
        # The reference gives the outer one precedence, for the types that have one.
        values["original_max_position_embeddings"] = original
    with file.refusing():
        if old and new and old != new:
            raise file.unsupported("rope_scaling", "the same as rope_parameters, or one of them alone")
        inner = ConfigFile(file.file, values, "rope_parameters." if new else "rope_scaling.")
        parameters = read_rope(inner, "rope_theta", theta, positions)
        with file.refusing(*_SIZE_KEYS):
            return parameters.of_size(size)
    return _REFUSED


def read_ropes_by_type(
    file: ConfigFile, thetas: dict[str, tuple[str, float]], positions: int, size: int, scaled: tuple[str, ...]
) -> dict[str, Rope]:
    """Parameters of each layer type's own; older `rope_scaling` is for the types `scaled`.

    `thetas`: the older key of each type's base, and its default; `positions`, `size`: as in `read_flat_rope`.
    """
    scaling = file.take("rope_scaling", (dict, type(None))) or {}
    parameters = ConfigFile(file.file, file.take("rope_parameters", (dict, type(None))) or {}, "rope_parameters.")
    ropes = {}
    for name, (key, default) in thetas.items():
        # That default goes before `type`, the older spelling, which the reference passes over then and we refuse.
        values = parameters.take(name, (dict, type(None))) or {"rope_type": "default"}
        theta = file.take(key, (int, float), default)
        of_type = ConfigFile(file.file, {**values, **(scaling if name in scaled else {})}, f"rope_parameters.{name}.")
        # The reference looks for it among the types.
        of_type.require("truncate", (True,))
        ropes[name] = _REFUSED
        with file.refusing():
            found = read_rope(of_type, key, theta, positions)
            with file.refusing(*_SIZE_KEYS):
                ropes[name] = found.of_size(size)
    with file.refusing():
        parameters.finish()
    return ropes


def shortest(ropes: Iterable[Rope]) -> int | None:
    """The length that all of them are reproduced for; None: any."""
    return min((rope.max_length for rope in ropes if rope.max_length is not None), default=None)
