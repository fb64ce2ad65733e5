"""The tensors of an adapter: pairs of matrices, each for a module that its config names."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from tf_exporter.errors import InputError, WeightsError
from tf_exporter.model.adapters.config import ADAPTER_FILES, AdapterConfig
from tf_exporter.model.adapters.matching import targeted
from tf_exporter.model.source import ModelSource
from tf_exporter.model.weights import read_weights

_PEFT = "base_model.model"
"""What PEFT puts before the names of all tensors."""
_PART = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A\.weight|lora_B\.weight|lora_B\.bias|lora_embedding_[AB])"
)


class Pairs:
    """The tensors of an adapter.

    Args:
        source: the model with the adapter.
        config: the adapter's config.
        file: the file of its tensors; None: it is missing.
        prefix: what may stand before the names of an encoder's tensors; here, they go without it.
        base: the names of the base model's tensors.
        before: what the reference's class may put before the names of modules.

    Raises:
        InputError: the file cannot be read, or is missing.
        WeightsError: a tensor is for a module that the config does not name.
    """

    def __init__(
        self,
        source: ModelSource,
        config: AdapterConfig,
        file: str | None,
        prefix: str | tuple[str, ...],
        base: Iterable[str],
        before: tuple[str, ...] = ("",),
    ) -> None:
        if file is None:
            raise InputError(
                f"{config.file}: there is no {' and no '.join(ADAPTER_FILES)} beside it"
            )
        self.config = config
        self.tensors = read_weights(source, file).without_prefix(_PEFT).without_prefix(prefix)
        parts = [_PART.fullmatch(name) for name in self.tensors.names]
        self.modules = dict.fromkeys(part["module"] for part in parts if part)
        """The modules that the file has tensors for."""
        if not self.modules:
            raise InputError(f"{file}: no tensors of a LoRA adapter")
        matrices = [name.removesuffix(".weight") for name in base if name.endswith(".weight")]
        self.named = targeted(config, dict.fromkeys([*self.modules, *matrices]), before)
        """Module that the config names → its rank and factor."""
        for module in self.modules:
            if module not in self.named:
                raise WeightsError(
                    f"{self.tensors.file}: it has tensors for {module}, which "
                    f"{config.file} does not name as a module to change"
                )

    def embeds(self, module: str) -> bool:
        """Whether a module is a table."""
        return f"{module}.lora_embedding_A" in self.tensors

    def has_bias(self, module: str) -> bool:
        """Whether a bias is added to a module's own."""
        return self.config.lora_bias and f"{module}.lora_B.bias" in self.tensors

    def of(self, module: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """The factors of the change of a matrix of this shape: [rows, rank] and [rank, columns].

        The scale is in the first one.

        Raises:
            WeightsError: they do not fit.
        """
        if len(shape) != 2:
            raise WeightsError(
                f"{self.tensors.file}: tensor {module}.weight has shape "
                f"{list(shape)}, and only matrices have a low-rank change"
            )
        pair = self.named[module]
        embeds = self.embeds(module)
        kind = "lora_embedding_{}" if embeds else "lora_{}.weight"
        outer, inner = shape[::-1] if embeds else shape
        first = self.tensors.take(f"{module}.{kind.format('A')}", (pair.rank, inner))
        second = self.tensors.take(f"{module}.{kind.format('B')}", (outer, pair.rank))
        left, right = (first.T, second.T) if embeds else (second, first)
        return left * np.float32(pair.scale), right

    def bias(self, module: str, shape: tuple[int, ...]) -> np.ndarray:
        """What is added to a module's bias, which has this shape."""
        change = self.tensors.take(f"{module}.lora_B.bias", shape)
        return np.array(change * np.float32(self.named[module].scale))

    def check_present(self, module: str, shape: tuple[int, ...]) -> None:
        """Refuses an adapter without tensors for a module that its config names.

        `shape`: the shape of the module's weight. The reference changes only matrices.
        """
        if len(shape) == 2 and module not in self.modules:
            raise WeightsError(
                f"{self.tensors.file}: no tensors for {module}, which {self.config.file} "
                "names as a module to change"
            )

    def replacements(self) -> list[str]:
        """The names of tensors that are no part of a pair: they replace the base model's."""
        return [
            name
            for name in self.tensors.names
            if not _PART.fullmatch(name) and ".lora_" not in name
        ]
