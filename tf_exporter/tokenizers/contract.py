"""The interface of our tokenizers, and that of the tokenizers that they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf

from tf_exporter.tokenizers.post_processors import Described, Encodings


class Encoding(Protocol):
    """The part of `tokenizers.Encoding` that is used here: the tokens of one text."""

    @property
    def ids(self) -> list[int]:
        """Token ids."""


class AlignedEncoding(Encoding, Protocol):
    """The tokens of one text, and where they are in the text."""

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """The first character of each token, and the one after the last."""

    @property
    def special_tokens_mask(self) -> list[int]:
        """1 for special tokens around a text."""


class Backend(Protocol):
    """The part of `tokenizers.Tokenizer` that is used here."""

    def no_padding(self) -> None:
        """Turns padding off."""

    def no_truncation(self) -> None:
        """Turns truncation off."""

    def enable_truncation(self, max_length: int, *, strategy: str, direction: str) -> None:
        """Truncates texts to `max_length` tokens."""

    def encode_batch(self, input: list[str], *, add_special_tokens: bool) -> Sequence[Encoding]:
        """The tokens of each text."""


class ReferenceTokenizer(Protocol):
    """The part of a transformers tokenizer that is used here."""

    @property
    def backend_tokenizer(self) -> Backend:
        """The `tokenizers.Tokenizer` in it."""

    def __call__(self, *texts: list[str], **options: object) -> Mapping[str, list[list[int]]]:
        """`input_ids` and `attention_mask` of each text, or of each pair from two lists of texts.

        `options`: `padding`, `truncation` and `max_length`, as in transformers, and those that ask
        for more matrices. Tokenizers of words alone have no others.
        """


class TextTokenizer:
    """Base class of tokenizers in TensorFlow ops."""

    padding: Callable[..., Any]
    """Encodings → `Padded`, or more inputs of a model; called as `Padding`."""

    def __call__(self, texts: tf.Tensor) -> Encodings:
        """Bytes [batch] → token ids, truncated and not padded."""
        raise NotImplementedError

    def described(self, encodings: Encodings) -> Described:
        """All rows, padded to the longest one, with the masks of transformers."""
        raise NotImplementedError

    def pairs(self, first: tf.Tensor, second: tf.Tensor) -> Encodings:
        """Bytes [batch] twice → the token ids of each pair, if the tokenizer supports pairs."""
        raise NotImplementedError
