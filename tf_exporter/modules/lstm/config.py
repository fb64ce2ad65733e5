"""The config of LSTM."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.arguments import finish
from tf_exporter.modules.dimensions import Dimensions, check_width, take_renamed
from tf_exporter.modules.dropout.config import check_rate


@dataclass(frozen=True)
class LSTMConfig:
    """Recurrent layers over the tokens."""

    width: int
    """The width of the input."""
    hidden: int
    """The width of one direction of a layer."""
    layers: int
    directions: int
    """1 or 2."""


def read(file: ConfigFile, dimensions: Dimensions) -> LSTMConfig:
    """Reads lstm_config.json; `token_embeddings` become the concatenation of both directions."""
    expected = dimensions.width_of(file, "type", "token_embeddings")
    key, old = "embedding_dimension", "word_embedding_dimension"
    width = take_renamed(file, key, old)
    check_width(file, key if key in file else old, width, expected)
    hidden, layers = file.take("hidden_dim", int, required=True), file.take("num_layers", int, 1)
    for name, value in (("hidden_dim", hidden), ("num_layers", layers)):
        if value < 1:
            file.refuse(file.unsupported(name, "a positive number"))
    directions = 1 + file.take("bidirectional", bool, True)
    check_rate(file)
    if not dimensions.incomplete and "sentence_lengths" not in dimensions:
        supported = "LSTM only after WordEmbeddings, as in the reference"
        file.refuse(UnsupportedError(file.file, "type", "LSTM", supported))
    finish(file, "LSTM")
    dimensions["token_embeddings"] = hidden * directions
    return LSTMConfig(width, hidden, layers, directions)
