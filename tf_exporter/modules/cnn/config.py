"""The config of CNN."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.arguments import finish
from tf_exporter.modules.dimensions import ANY, Dimensions, check_width, take_renamed


@dataclass(frozen=True)
class CNNConfig:
    """Parallel convolutions over the tokens."""

    width: int
    """The width of the input."""
    channels: int
    """The channels of each convolution."""
    kernel_sizes: tuple[int, ...]
    """The width of each convolution in tokens, an odd number."""


def read(file: ConfigFile, dimensions: Dimensions) -> CNNConfig:
    """Reads cnn_config.json; `token_embeddings` get all channels of all convolutions."""
    expected = dimensions.width_of(file, "type", "token_embeddings")
    key, old = "in_embedding_dimension", "in_word_embedding_dimension"
    width = take_renamed(file, key, old)
    check_width(file, key if key in file else old, width, expected)
    channels = file.take("out_channels", int, 256)
    sizes = file.take("kernel_sizes", list, [1, 3, 5])
    if not sizes or any(type(size) is not int or size < 1 or size % 2 == 0 for size in sizes):
        # With even sizes the reference changes the number of tokens, and fails on a single token.
        file.refuse(file.unsupported("kernel_sizes", "a list of odd numbers"))
        file.take("stride_sizes", ANY)
    else:
        file.require("stride_sizes", (None, [1] * len(sizes)))
    finish(file, "CNN")
    dimensions["token_embeddings"] = channels * len(sizes)
    return CNNConfig(width, channels, tuple(sizes))
