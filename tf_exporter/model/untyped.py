"""Aliases for values without static types: JSON values, and objects of untyped libraries."""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A value of a JSON file."""
TransformersTokenizer: TypeAlias = Any
"""A `transformers.PreTrainedTokenizerFast`."""
TokenizersPart: TypeAlias = Any
"""A `tokenizers.Tokenizer`, or a normalizer or pre-tokenizer of one."""
Function: TypeAlias = Any
"""A `tf.function`, or one of its concrete functions."""
Signatures: TypeAlias = Any
"""The signatures of a loaded SavedModel: name → function."""
SavedObject: TypeAlias = Any
"""A loaded SavedModel, or an object to save: a `tf.Module` or `tf.train.Checkpoint`."""
Proto: TypeAlias = Any
"""A TensorFlow protocol buffer."""
TorchModel: TypeAlias = Any
"""A model of sentence-transformers or transformers."""
