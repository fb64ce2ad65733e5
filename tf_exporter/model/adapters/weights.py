"""Merging: the weights of a base model with those of an adapter.

`peft` computes x·Wᵀ + (x·Aᵀ)·Bᵀ·s for each module that an adapter changes. Here the module's
matrix becomes W + s·B·A, when it is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from tf_exporter.errors import InputError, UnsupportedError, WeightsError
from tf_exporter.model.adapters.config import ADAPTER_FILES, Adapter
from tf_exporter.model.adapters.matching import Pair, targeted
from tf_exporter.model.source import ModelSource
from tf_exporter.model.weights import Weights, read_weights

_PEFT = "base_model.model."
"""What PEFT puts before the names of all tensors."""
_PART = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A\.weight|lora_B\.weight|lora_B\.bias|lora_embedding_[AB])"
)
_BASE_LAYER = ".base_layer."
"""The place of a changed module's own tensors in the reference, such as its bias."""
_BLOCK = 2**22
"""The most values of a product that are computed at a time."""


class MergedWeights:
    """The tensors of a base model with those of an adapter merged into them.

    Args:
        source: the model with the adapter.
        base: the base model's tensors.
        adapter: the adapter.
        prefix: what may stand before the names of an encoder's tensors; both then go without it.
        task: the `transformer_task`.

    Raises:
        InputError: the adapter's file cannot be read.
        WeightsError: a tensor of the adapter is for a module that its config does not name.
        UnsupportedError: it changes what a head shares with the encoder.
    """

    def __init__(
        self,
        source: ModelSource,
        base: Weights,
        adapter: Adapter,
        prefix: str | tuple[str, ...],
        task: str,
    ) -> None:
        if adapter.weights is None:
            files = " and no ".join(ADAPTER_FILES)
            raise InputError(f"{adapter.config.file}: there is no {files} beside it")
        self._base = base.without_prefix(prefix)
        self._adapter = read_weights(source, adapter.weights).without_prefix(_PEFT.rstrip("."))
        self._adapter = self._adapter.without_prefix(prefix)
        self._config = adapter.config
        prefixes = (prefix,) if isinstance(prefix, str) else prefix
        before = ("",) if task == "feature-extraction" else ("", *(f"{name}." for name in prefixes))
        parts = [_PART.fullmatch(name) for name in self._adapter.names]
        self._modules = dict.fromkeys(part["module"] for part in parts if part)
        if not self._modules:
            raise InputError(f"{adapter.weights}: no tensors of a LoRA adapter")
        matrices = [
            name.removesuffix(".weight") for name in self._base.names if name.endswith(".weight")
        ]
        self._pairs = targeted(self._config, dict.fromkeys([*self._modules, *matrices]), before)
        self._check_modules()
        if task in ("fill-mask", "text-generation"):
            self._check_shared(task)
        self.weights = self._base.replaced(self._readers())
        """The merged tensors, under the names of the bare encoder."""

    def finish(self, unused: tuple[str, ...], task: str) -> None:
        """Accounts for the tensors of the adapter that were not taken.

        `unused`: patterns for the names of tensors that no embedding depends on.

        Raises:
            WeightsError: a tensor has no place in the model.
        """
        self._adapter.finish(unused if task == "feature-extraction" else ())

    def _check_modules(self) -> None:
        for module in self._modules:
            if module not in self._pairs:
                raise WeightsError(
                    f"{self._adapter.file}: it has tensors for {module}, which "
                    f"{self._config.file} does not name as a module to change"
                )

    def _check_shared(self, task: str) -> None:
        """Refuses to change word embeddings: a head over the vocabulary may share them.

        In `peft`, only the encoder's copy changes.
        """
        supported = f"an adapter that leaves embeddings and heads as they are, for {task}"
        if self._config.saved:
            raise UnsupportedError(
                self._config.file, "modules_to_save", [*self._config.saved], supported
            )
        for module in self._modules:
            if f"{module}.lora_embedding_A" in self._adapter:
                raise UnsupportedError(self._config.file, "target_modules", module, supported)

    def _readers(self) -> dict[str, Callable[[], np.ndarray]]:
        """Name → the reader of each tensor that the adapter changes, replaces or lacks."""
        readers: dict[str, Callable[[], np.ndarray]] = {}
        for name in self._adapter.names:
            if not _PART.fullmatch(name) and ".lora_" not in name:
                readers[name.replace(_BASE_LAYER, ".")] = self._replacement(name)
        for module, pair in self._pairs.items():
            name = f"{module}.weight"
            if module in self._modules:
                before = readers.get(name, self._original(name))
                readers[name] = self._changed(module, pair, before)
                bias = f"{module}.bias"
                if self._config.lora_bias and f"{module}.lora_B.bias" in self._adapter:
                    before = readers.get(bias, self._original(bias))
                    readers[bias] = self._changed_bias(module, pair, before)
            elif not self._config.all_linear and name not in readers:
                readers[name] = self._without_pair(module)
        return {
            name: reader
            for name, reader in readers.items()
            if name in self._base or name.removesuffix(".weight") not in self._modules
        }

    def _original(self, name: str) -> Callable[[], np.ndarray]:
        return lambda: self._base.take_floats(name)

    def _replacement(self, name: str) -> Callable[[], np.ndarray]:
        return lambda: self._adapter.take_floats(name)

    def _without_pair(self, module: str) -> Callable[[], np.ndarray]:
        def read() -> np.ndarray:
            array = self._base.take_floats(f"{module}.weight")
            if array.ndim == 2:
                raise WeightsError(
                    f"{self._adapter.file}: no tensors for {module}, which {self._config.file} "
                    "names as a module to change"
                )
            return array

        return read

    def _changed(
        self, module: str, pair: Pair, before: Callable[[], np.ndarray]
    ) -> Callable[[], np.ndarray]:
        """The reader of W + s·B·A for a linear layer, and of W + s·(B·A)ᵀ for an embedding."""

        def read() -> np.ndarray:
            matrix = np.array(before())  # a copy: tensors of a pickled file may share memory
            embeds = f"{module}.lora_embedding_A" in self._adapter
            kind = "lora_embedding_{}" if embeds else "lora_{}.weight"
            shape = matrix.shape[::-1] if embeds else matrix.shape
            if matrix.ndim != 2:
                raise WeightsError(
                    f"{self._adapter.file}: tensor {module}.weight has shape "
                    f"{list(matrix.shape)}, and only matrices have a low-rank change"
                )
            first = self._adapter.take(f"{module}.{kind.format('A')}", (pair.rank, shape[1]))
            second = self._adapter.take(f"{module}.{kind.format('B')}", (shape[0], pair.rank))
            left, right = (first.T, second.T) if embeds else (second, first)
            _add_product(matrix, left, right, pair.scale)
            return matrix

        return read

    def _changed_bias(
        self, module: str, pair: Pair, before: Callable[[], np.ndarray]
    ) -> Callable[[], np.ndarray]:
        def read() -> np.ndarray:
            bias = np.array(before())
            change = self._adapter.take(f"{module}.lora_B.bias", bias.shape)
            bias += np.float32(pair.scale) * change
            return bias

        return read


def _add_product(matrix: np.ndarray, left: np.ndarray, right: np.ndarray, scale: float) -> None:
    """Adds scale · left · right to a matrix, some rows at a time."""
    rows = max(1, _BLOCK // max(1, matrix.shape[1]))
    for start in range(0, len(matrix), rows):
        part = left[start : start + rows] * np.float32(scale)
        matrix[start : start + rows] += part @ right
