"""Checkpoints as named float32 arrays.

Every tensor must be taken exactly once, or be on a list of unused tensors.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from tf_exporter.errors import InputError, WeightsError, one_line
from tf_exporter.model.source import ModelSource

_FLOATS = ("float32", "float16", "bfloat16", "float64")
_INTEGERS = ("int32", "int64")
_LEGACY_NAMES = (
    (re.compile(r"LayerNorm\.gamma$"), "LayerNorm.weight"),
    (re.compile(r"LayerNorm\.beta$"), "LayerNorm.bias"),
)
"""Layer norm names in BERT checkpoints converted from TensorFlow → current names."""


class Weights:
    """The tensors of one checkpoint. Each is read from disk when it is taken."""

    def __init__(self, file: str, readers: dict[str, Callable[[], np.ndarray]]) -> None:
        self.file = file
        self._readers = readers
        self._taken: set[str] = set()
        self.on_take: Callable[[int], object] = lambda count: None
        """Called with 1 for every tensor taken, for a progress bar."""

    @classmethod
    def of_arrays(cls, file: str, arrays: dict[str, np.ndarray]) -> Weights:
        """Arrays made of the tensors of a checkpoint, under names that a layer takes.

        `file`: the name of the checkpoint, for messages.
        """
        return cls(file, {name: partial(np.asarray, array) for name, array in arrays.items()})

    def __len__(self) -> int:
        return len(self._readers)

    def __contains__(self, name: str) -> bool:
        return name in self._readers

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The tensor as a float32 array of exactly `shape`.

        Raises:
            WeightsError: missing, of another shape or type, not finite, or already taken.
        """
        array = self._read(name, _FLOATS, f"of shape {list(shape)} ")
        if array.shape != shape:
            raise WeightsError(
                f"{self.file}: tensor {name} has shape {list(array.shape)}, not {list(shape)}"
            )
        return self._as_float32(name, array)

    def take_floats(self, name: str) -> np.ndarray:
        """As `take`, for any shape."""
        return self._as_float32(name, self._read(name, _FLOATS))

    def take_matrix(self, name: str) -> np.ndarray:
        """As `take`, for a matrix of unknown shape."""
        array = self._read(name, _FLOATS)
        if array.ndim != 2 or 0 in array.shape:
            raise WeightsError(
                f"{self.file}: tensor {name} has shape {list(array.shape)}, which is no matrix"
            )
        return self._as_float32(name, array)

    def take_numbers(self, name: str) -> np.ndarray:
        """As `take`, for integers: int64 of any shape."""
        return self._done(name, self._read(name, _INTEGERS).astype(np.int64))

    def _read(self, name: str, dtypes: tuple[str, ...], described: str = "") -> np.ndarray:
        if name in self._taken:
            raise WeightsError(f"{self.file}: tensor {name} is used twice")
        if name not in self._readers:
            raise WeightsError(f"{self.file}: tensor {name} {described}is missing")
        array = self._readers[name]()
        if array.dtype.name not in dtypes:
            raise WeightsError(
                f"{self.file}: tensor {name} is {array.dtype.name}, not one of {', '.join(dtypes)}"
            )
        return array

    def _as_float32(self, name: str, array: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            array = array.astype(np.float32, copy=False)
            finite = not array.size or np.isfinite([array.min(), array.max()]).all()
        if not finite:
            raise WeightsError(
                f"{self.file}: tensor {name} has values that are not finite in float32"
            )
        return self._done(name, array)

    def _done(self, name: str, array: np.ndarray) -> np.ndarray:
        self._taken.add(name)
        self.on_take(1)
        return array

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all tensors."""
        return tuple(self._readers)

    @property
    def taken(self) -> frozenset[str]:
        """The names of the tensors that were taken."""
        return frozenset(self._taken)

    def finish(
        self,
        unused: Iterable[str] = (),
        with_a_place: Callable[[list[str]], list[str]] = lambda names: names,
    ) -> list[str]:
        """Accounts for the tensors that were not taken.

        Args:
            unused: patterns for the names of tensors that no embedding depends on.
            with_a_place: selects the names that the reference would load, from all other names.

        Returns:
            The names that the reference does not load.

        Raises:
            WeightsError: a tensor that the reference would load was not taken.
        """
        patterns = [re.compile(pattern) for pattern in unused]
        left = [
            name
            for name in self._readers
            if name not in self._taken and not any(pattern.fullmatch(name) for pattern in patterns)
        ]
        kept = with_a_place(left) if left else []
        if kept:
            raise WeightsError(
                f"{self.file}: tensor {kept[0]} has no place in the model that the config describes"
            )
        return left

    def replaced(self, readers: dict[str, Callable[[], np.ndarray]]) -> Weights:
        """The same tensors, of which some have other readers, and further ones."""
        return Weights(self.file, {**self._readers, **readers})

    def renamed(self, names: Iterable[tuple[re.Pattern[str], str]]) -> Weights:
        """The same tensors under other names: patterns and their replacements."""
        readers: dict[str, Callable[[], np.ndarray]] = {}
        for name, reader in self._readers.items():
            new = name
            for pattern, replacement in names:
                new = pattern.sub(replacement, new)
            if new in readers:
                raise WeightsError(f"{self.file}: two tensors stand for {new}")
            readers[new] = reader
        return Weights(self.file, readers)

    def without_prefix(self, prefix: str | tuple[str, ...]) -> Weights:
        """The same tensors, with names without the prefix and with current layer norm names."""
        prefixes = (prefix,) if isinstance(prefix, str) else prefix
        renamed: dict[str, Callable[[], np.ndarray]] = {}
        for name, reader in self._readers.items():
            bare = name.removeprefix(
                next((f"{prefix}." for prefix in prefixes if name.startswith(f"{prefix}.")), "")
            )
            for pattern, replacement in _LEGACY_NAMES:
                bare = pattern.sub(replacement, bare)
            if bare in renamed:
                names = " or ".join(map(repr, prefixes))
                raise WeightsError(
                    f"{self.file}: two tensors are named {bare}, with and without {names}"
                )
            renamed[bare] = reader
        return Weights(self.file, renamed)


def read_weights(source: ModelSource, name: str) -> Weights:
    """The tensors of one file, which is pickled if its name ends in .bin or .pt.

    Raises:
        InputError: it cannot be read.
    """
    return Weights(name, _readers(source, name, name.endswith((".bin", ".pt"))))


def open_weights(source: ModelSource, folder: str = "", shards: bool = False) -> Weights:
    """The checkpoint in a folder of the model, by the reference's order of preference.

    `shards`: whether it may be sharded; only transformers reads such checkpoints.

    Raises:
        InputError: there is no checkpoint, or it cannot be read.
    """
    prefix = f"{folder}/" if folder else ""
    for name, pickled in (("model.safetensors", False), ("pytorch_model.bin", True)):
        if source.exists(prefix + name):
            return read_weights(source, prefix + name)
        index = prefix + name + ".index.json"
        if shards and source.exists(index):
            return Weights(index, _sharded(source, prefix, index, pickled))
    raise InputError(f"{prefix or './'}: no model.safetensors and no pytorch_model.bin")


def _sharded(
    source: ModelSource, prefix: str, index: str, pickled: bool
) -> dict[str, Callable[[], np.ndarray]]:
    weight_map = source.read_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(
        isinstance(shard, str) for shard in weight_map.values()
    ):
        raise InputError(f"{index}: weight_map is not an object of file names")
    readers: dict[str, Callable[[], np.ndarray]] = {}
    for shard in sorted(set(weight_map.values())):
        if "/" in shard or not source.exists(prefix + shard):
            raise WeightsError(f"{index}: shard {shard!r} is not a file in the same folder")
        tensors = _readers(source, prefix + shard, pickled)
        if extra := tensors.keys() - {name for name, file in weight_map.items() if file == shard}:
            raise WeightsError(f"{prefix + shard}: tensor {min(extra)} is not in {index}")
        readers.update(tensors)
    if missing := weight_map.keys() - readers.keys():
        raise WeightsError(f"{index}: tensor {min(missing)} is not in its shard")
    return readers


def _readers(source: ModelSource, name: str, pickled: bool) -> dict[str, Callable[[], np.ndarray]]:
    source.record(name)
    return _pickled(source, name) if pickled else _safetensors(source, name)


def _safetensors(source: ModelSource, name: str) -> dict[str, Callable[[], np.ndarray]]:
    from safetensors import SafetensorError, safe_open

    path = source.path(name)
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{name}: not a valid safetensors file ({error})") from error

    def reader(tensor: str) -> Callable[[], np.ndarray]:
        def read() -> np.ndarray:
            try:
                # Opened for each tensor, so that only this part of a large file is in memory.
                with safe_open(path, framework="numpy") as file:
                    array: np.ndarray = file.get_tensor(tensor)
            except (
                SafetensorError,
                OSError,
                AttributeError,
                TypeError,
                ValueError,
                KeyError,
            ) as error:
                raise WeightsError(f"{name}: tensor {tensor} cannot be read ({error})") from error
            return array

        return read

    return {tensor: reader(tensor) for tensor in names}


def _pickled(source: ModelSource, name: str) -> dict[str, Callable[[], np.ndarray]]:
    try:
        import torch
    except ImportError:
        raise InputError(
            f"{name}: reading a pickled checkpoint needs torch; "
            "install tf-exporter[verify], or save the model with safetensors"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about tensors that are refused below
            tensors: Any = torch.load(source.path(name), map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler can raise any exception
        raise InputError(
            f"{name}: not a checkpoint of plain tensors ({one_line(error)})"
        ) from error
    if not isinstance(tensors, dict) or not all(
        isinstance(tensor, torch.Tensor) for tensor in tensors.values()
    ):
        raise InputError(f"{name}: not a dictionary of tensors")

    def reader(tensor: str) -> Callable[[], np.ndarray]:
        def read() -> np.ndarray:
            values = tensors[tensor]
            if (
                str(values.dtype).removeprefix("torch.") not in (*_FLOATS, *_INTEGERS)
                or values.layout != torch.strided
            ):
                raise WeightsError(
                    f"{name}: tensor {tensor} is {values.dtype}, {values.layout}, "
                    f"not dense {', '.join((*_FLOATS, *_INTEGERS))}"
                )
            if values.is_meta:
                raise WeightsError(f"{name}: tensor {tensor} has no values")
            if values.numel() * values.element_size() > values.untyped_storage().nbytes():
                raise WeightsError(
                    f"{name}: tensor {tensor} has fewer values than its shape {list(values.shape)}"
                )
            values = values.detach().resolve_neg()
            if values.dtype == torch.bfloat16:
                values = values.to(torch.float32)
            array: np.ndarray = values.numpy()
            return array

        return read

    return {str(tensor): reader(tensor) for tensor in tensors}
