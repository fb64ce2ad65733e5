"""The interface of encoders. Nothing here imports TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from tf_exporter.architectures.encoder_config import EncoderConfig

Tensor: TypeAlias = Any
"""`tf.Tensor`. TensorFlow has no types, and it is imported only after all configs were accepted."""


class Table(Protocol):
    """The word embeddings of an encoder, as `layers.basic.Embedding`."""

    @property
    def weight(self) -> Tensor:
        """A `tf.Variable` [rows, features]."""

    device: str | None
    """The device that looks rows up; None: TensorFlow chooses."""


class Encoder(Protocol):
    """Token ids → hidden states. Each class is a `tf.Module`, which tracks its variables."""

    hidden_size: int

    @property
    def config(self) -> EncoderConfig:
        """The config that it was built from."""

    @property
    def token_table(self) -> Table:
        """The word embeddings."""

    @property
    def layers(self) -> Sequence[object]:
        """Its layers, in order."""

    @property
    def variables(self) -> Sequence[Tensor]:
        """Its `tf.Variable`s."""

    def __call__(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        *,
        long: bool = False,
    ) -> list[Tensor]:
        """The hidden states, as `hidden_states` of transformers.

        Each is float32 [batch · length, hidden_size]. The first is the input of the first layer,
        the last has the token embeddings. Where `hidden_states` ends before the last norm, the
        token embeddings are one more.

        Args:
            input_ids: int32 [batch, length].
            attention_mask: int32 [batch, length], 1 for tokens and 0 for padding.
            token_type_ids: int32 [batch, length]; not used by architectures without segments.
            long: whether attention is computed in blocks, without a [length, length] matrix.
        """
