"""The config of SparseAutoEncoder."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.modules.arguments import finish
from tf_exporter.model.modules.dimensions import ANY, Dimensions, check_width

MODEL_LIMIT = "max_active_dims"
"""The limit of the whole model, which is put into this config where there is one."""


@dataclass(frozen=True)
class SparseAutoEncoderConfig:
    """The few largest of many latent features."""

    width: int
    """Of what comes in."""
    hidden: int
    """The number of features."""
    k: int
    """How many are kept."""
    normalizes: bool


def read(file: ConfigFile, dimensions: Dimensions) -> SparseAutoEncoderConfig:
    """What config.json says; `sentence_embedding` gets all features."""
    expected = dimensions.of(file, "type", "sentence_embedding")
    width = file.take("input_dim", int, required=True)
    check_width(file, "input_dim", width, expected)
    hidden, k = file.take("hidden_dim", int, 512), file.take("k", int, 8)
    # The model's own limit, where it has one, goes before.
    kept = file.take(MODEL_LIMIT, int, k)
    for key, value in (("k", k), ("hidden_dim", hidden)):
        if value < 1:
            file.refuse(file.unsupported(key, "a positive number"))
    if kept > hidden:
        key = MODEL_LIMIT if MODEL_LIMIT in file else "k"
        file.refuse(file.unsupported(key, f"at most hidden_dim, {hidden}"))
    normalizes = file.take("normalize", bool, False)
    for key in ("k_aux", "dead_threshold"):
        file.take(key, ANY)  # of training
    finish(file, "SparseAutoEncoder", frozenset({MODEL_LIMIT}))
    dimensions["sentence_embedding"] = hidden
    return SparseAutoEncoderConfig(width, hidden, kept, normalizes)
