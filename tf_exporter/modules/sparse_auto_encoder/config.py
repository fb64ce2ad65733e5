"""The config of SparseAutoEncoder."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.arguments import finish
from tf_exporter.modules.dimensions import ANY, Dimensions, check_width

MODEL_LIMIT = "max_active_dims"
"""The key for the limit of the whole model, which is added to this config if it is set."""


@dataclass(frozen=True)
class SparseAutoEncoderConfig:
    """An encoder to many latent features, of which the largest are kept."""

    width: int
    """The width of the input."""
    hidden: int
    """The number of latent features."""
    k: int
    """The number of features that are kept."""
    normalizes: bool


def read(file: ConfigFile, dimensions: Dimensions) -> SparseAutoEncoderConfig:
    """Reads config.json; `sentence_embedding` gets all latent features."""
    expected = dimensions.width_of(file, "type", "sentence_embedding")
    width = file.take("input_dim", int, required=True)
    check_width(file, "input_dim", width, expected)
    hidden, k = file.take("hidden_dim", int, 512), file.take("k", int, 8)
    # The limit of the whole model takes precedence.
    kept = file.take(MODEL_LIMIT, int, k)
    for key, value in (("k", k), ("hidden_dim", hidden)):
        if value < 1:
            file.refuse(file.unsupported(key, "a positive number"))
    if kept > hidden:
        key = MODEL_LIMIT if MODEL_LIMIT in file else "k"
        file.refuse(file.unsupported(key, f"at most hidden_dim, {hidden}"))
    normalizes = file.take("normalize", bool, False)
    for key in ("k_aux", "dead_threshold"):
        file.take(key, ANY)  # only used in training
    finish(file, "SparseAutoEncoder", frozenset({MODEL_LIMIT}))
    dimensions["sentence_embedding"] = hidden
    return SparseAutoEncoderConfig(width, hidden, kept, normalizes)
