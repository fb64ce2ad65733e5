"""What follows the Transformer module, by the last part of `type` in modules.json."""

from __future__ import annotations

from tf_exporter.modules.dense import Dense
from tf_exporter.modules.dropout import Dropout
from tf_exporter.modules.layer_norm import LayerNorm
from tf_exporter.modules.normalize import Normalize
from tf_exporter.modules.pooling import Pooling

MODULES: dict[str, type[Dense | Dropout | LayerNorm | Normalize | Pooling]] = {
    "Dense": Dense,
    "Dropout": Dropout,
    "LayerNorm": LayerNorm,
    "Normalize": Normalize,
    "Pooling": Pooling,
}
