"""What flows from module to module, named tensors as in sentence-transformers, and what modules are built with."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile

Features = dict[str, tf.Tensor]
"""`input_ids`, `attention_mask`, `token_type_ids` int32 [batch, length]; `prompt_length` int32 [];
`token_embeddings` float32 [batch, length, hidden]; `sentence_embedding` float32 [batch, dim];
`causal_logits` float32 [batch, 1, vocab]; `scores` float32 [batch, labels];
of words also `sentence_lengths` int32 [batch], `token_weights_sum` float32 [batch];
of an encoder that gives its layers, `all_layer_embeddings` float32 [layers, batch, length, hidden]."""

Module = Callable[[Features], Features]

NO_EMBEDDINGS = ("input_ids", "sentence_lengths", "cls_token_embeddings", "all_layer_embeddings")
"""Features that modules ask for by the side: how many ids there may be; lengths in tokens; WordEmbeddings' empty place;
how many layers an encoder gives, with what goes into the first."""
EMBEDDINGS = ("sentence_embedding", "token_embeddings", "scores")
"""Features a module can be told to read or write."""


class Dimensions(dict[str, int]):
    """The width of each embedding the modules before have made; a module reads and updates it when it is built.

    Of `NO_EMBEDDINGS`: the number of ids, or of layers; else 0.
    """

    def of(self, file: ConfigFile, key: str, name: str) -> int:
        """The width of feature `name`; refuses a feature no module before has made."""
        if name not in self or name in NO_EMBEDDINGS:
            raise UnsupportedError(
                file.file, key, name, self.keys() - {*NO_EMBEDDINGS} or "nothing: no module before makes an embedding"
            )
        return self[name]


def read_names(file: ConfigFile, dimensions: Dimensions) -> tuple[str, str, int]:
    """`module_input_name`, `module_output_name` (the same where missing or null) and the input's width."""
    source = file.take("module_input_name", str, "sentence_embedding")
    target = file.take("module_output_name", (str, type(None)))
    target = source if target is None else target
    if target not in EMBEDDINGS:
        raise UnsupportedError(file.file, "module_output_name", target, EMBEDDINGS)
    return source, target, dimensions.of(file, "module_input_name", source)


def check_width(file: ConfigFile, key: str, value: int, expected: int) -> None:
    """Refuses a width in a config that is not what the modules before make."""
    if value != expected:
        raise UnsupportedError(file.file, key, value, f"{expected}, the width of what comes in")


def read_renamed_width(file: ConfigFile, key: str, old: str, dimensions: Dimensions) -> int:
    """The width of `token_embeddings`, under today's key or its old one; the reference drops the old one beside today's."""
    width = dimensions.of(file, "type", "token_embeddings")
    asked = file.take(old, int)
    asked = asked if key not in file and old in file else file.take(key, int, required=True)
    check_width(file, key if key in file else old, asked, width)
    return width
