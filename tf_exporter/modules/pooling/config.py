"""The config of Pooling."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.arguments import finish
from tf_exporter.modules.dimensions import ANY, Dimensions, take_renamed, times

_MODES = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
"""Mode → its key in the old layout, in the order in which the modes are concatenated."""
MODES = tuple(_MODES)


@dataclass(frozen=True)
class PoolingConfig:
    """The pooling modes, and whether a prompt is pooled."""

    modes: tuple[str, ...]
    """Some of `MODES`, concatenated in this order."""
    includes_prompt: bool


def read(file: ConfigFile, dimensions: Dimensions) -> PoolingConfig:
    """Reads config.json; `sentence_embedding` becomes the concatenation of all modes."""
    width = dimensions.width_of(file, "type", "token_embeddings")
    _read_width(file)
    modes = _read_modes(file)
    if "cls" in modes and "cls_token_embeddings" in dimensions:
        # The reference fails there, as WordEmbeddings has no such embedding.
        supported = "any other mode after WordEmbeddings"
        file.refuse(UnsupportedError(file.file, "pooling_mode", "cls", supported))
    config = PoolingConfig(modes, file.take("include_prompt", bool, True))
    finish(file, "Pooling")
    dimensions["sentence_embedding"] = times(width, len(modes))
    return config


def _read_width(file: ConfigFile) -> None:
    """Reads a value that no result depends on: the reference pools tokens of any width.

    It multiplies the value by the number of modes, so it fails on types without a product.
    """
    kinds = (int, float, bool, str, list)
    take_renamed(file, "embedding_dimension", "word_embedding_dimension", kinds)


def _read_modes(file: ConfigFile) -> tuple[str, ...]:
    chosen = tuple(mode for mode, key in _MODES.items() if file.take(key, ANY, False))
    modes = chosen or ("mean",)
    if "pooling_mode" in file:
        value = file.take("pooling_mode", (str, list))
        modes = (value,) if isinstance(value, str) else tuple(value)
    for mode in modes:
        if not isinstance(mode, str) or mode not in MODES:
            file.refuse(UnsupportedError(file.file, "pooling_mode", mode, MODES))
    if not modes:
        file.refuse(UnsupportedError(file.file, "pooling_mode", [], MODES))
    return modes
