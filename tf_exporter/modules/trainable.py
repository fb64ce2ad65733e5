"""The dropout rates of encoders that are exported for further training."""

from __future__ import annotations

from tf_exporter.architectures.registry import ARCHITECTURES
from tf_exporter.errors import UnsupportedError
from tf_exporter.modules.transformer.config import TransformerSpec

TRAINABLE = tuple(name for name, architecture in ARCHITECTURES.items() if architecture.dropout)
"""The `model_type`s of encoders that can be trained further."""


def read_dropout(transformer: TransformerSpec) -> tuple[float, float]:
    """The dropout rates of the hidden states and of the attention weights.

    Raises:
        UnsupportedError: the encoder cannot be trained further, or a rate is not below 1.
    """
    file = transformer.encoder_config
    architecture = ARCHITECTURES.get(transformer.model_type)
    if architecture is None or architecture.dropout is None:
        raise UnsupportedError(file.file, "model_type", transformer.model_type, TRAINABLE)
    keys = architecture.dropout
    hidden, attention = (
        float(file.take(key, (int, float), keys.default)) for key in (keys.hidden, keys.attention)
    )
    for key, rate in ((keys.hidden, hidden), (keys.attention, attention)):
        if not 0 <= rate < 1:
            raise file.unsupported(key, "a number from 0 to below 1")
    return hidden, attention
