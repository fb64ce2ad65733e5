"""An encoder with TensorFlow Hub's API: three inputs → token and text embeddings.

It can be used or trained further. The API is that of `official.nlp.tools.export_tfhub` in
tf-models-official 2.20.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tf_exporter.architectures.contract import Encoder
from tf_exporter.heads.base import Head
from tf_exporter.heads.pooler import FirstToken, Pooler
from tf_exporter.layers.training import DropoutRates, dropout
from tf_exporter.model.untyped import Function
from tf_exporter.names import (
    DEFAULT,
    DEFAULT_OUTPUT,
    ENCODER_INPUTS,
    LAYERS,
    MASK,
    MLM_LOGITS,
    POOLED,
    POSITIONS,
    SEQUENCE,
    TYPE_IDS,
    WORD_IDS,
)

Tensors = dict[str, Any]


@dataclass(frozen=True)
class Parts:
    """The parts of an encoder."""

    encoder: Encoder
    """int32 ids, mask, types [batch, length] → float32 [batch, length, hidden]"""
    pooler: Pooler | FirstToken
    head: Head | None
    """The head of the masked language model."""
    rates: DropoutRates
    has_types: bool
    """Whether the encoder uses segments."""

    def __call__(self, inputs: Tensors, training: bool) -> Tensors:
        """The outputs of an encoder."""
        ids, mask, types = (inputs[name] for name in (WORD_IDS, MASK, TYPE_IDS))
        ids = _checked_length(ids, self.encoder.config.max_length)
        with dropout(self.rates if training else DropoutRates(0.0, 0.0)):
            states = self.encoder(ids, mask, types if self.has_types else tf.zeros_like(types))
        shape = [*tf.unstack(tf.shape(ids)), self.encoder.hidden_size]
        outputs = [tf.reshape(x, shape) for x in states[1:]]
        # Keeps a fixed shape static.
        outputs = [tf.ensure_shape(x, [*ids.shape, self.encoder.hidden_size]) for x in outputs]
        pooled = self.pooler(outputs[-1])
        return {POOLED: pooled, DEFAULT_OUTPUT: pooled, SEQUENCE: outputs[-1], LAYERS: outputs}

    def with_logits(self, inputs: Tensors, training: bool) -> Tensors:
        """The outputs of an encoder, and the scores of all tokens at the requested positions."""
        assert self.head is not None
        outputs = self({name: inputs[name] for name in ENCODER_INPUTS}, training)
        positions = _checked_positions(inputs[POSITIONS], tf.shape(outputs[SEQUENCE])[1])
        tokens = tf.gather(outputs[SEQUENCE], positions, batch_dims=1)
        logits = self.head(tokens, None, None)
        return {**outputs, MLM_LOGITS: tf.ensure_shape(logits, [*positions.shape, self.head.width])}

    def variables(self, head: bool) -> list[tf.Variable]:
        """The variables in order, each once. `head`: whether to include those of the head."""
        modules = [self.encoder, self.pooler, *([self.head] if head and self.head else [])]
        variables = [variable for module in modules for variable in module.variables]
        return list({id(variable): variable for variable in variables}.values())


def _checked_length(ids: tf.Tensor, max_length: int | None) -> tf.Tensor:
    if max_length is None:
        return ids
    length = tf.shape(ids)[1]
    message = f"{WORD_IDS} may have at most {max_length} tokens per text; got"
    with tf.control_dependencies([tf.debugging.Assert(length <= max_length, [message, length])]):
        # Hides the shape of the call, which TensorFlow would check first, with another message.
        return tf.compat.v1.placeholder_with_default(ids, ids.shape)


def _checked_positions(positions: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    inside = tf.reduce_all((positions >= 0) & (positions < length))
    message = f"{POSITIONS} must be below the inputs' length and not negative; got"
    with tf.control_dependencies([tf.debugging.Assert(inside, [message, positions])]):
        return tf.identity(positions)


class _Callable(tf.train.Checkpoint):
    """An object that is called with a dict of int32 tensors and `training`.

    It has the attributes that TensorFlow Hub's Keras layer reads.
    """

    def __init__(
        self,
        compute: Callable[[Tensors, bool], Tensors],
        specs: dict[str, tf.TensorSpec],
        variables: list[tf.Variable],
    ):
        super().__init__()
        self.variables = variables
        self.trainable_variables = variables
        self.regularization_losses: list[Any] = []

        @tf.function(autograph=False)
        def call(inputs: Tensors, training: bool = False) -> Tensors:
            return compute(inputs, training)

        for training in (False, True):
            call.get_concrete_function(specs, training=training)
        self.__call__ = call


def encoder(
    parts: Parts, assets: dict[str, Any], batch: int | None, length: int | None
) -> tuple[tf.train.Checkpoint, dict[str, Any]]:
    """The saved object and its signatures, which leave out the list of all layers' outputs.

    Args:
        parts: the parts of the encoder.
        assets: further attributes, for the vocabulary.
        batch: the number of texts; None: any.
        length: the number of tokens of each text; None: any.
    """
    specs = {name: tf.TensorSpec([batch, length], tf.int32, name) for name in ENCODER_INPUTS}
    root = _Callable(parts, specs, parts.variables(head=False))
    for name, value in assets.items():
        setattr(root, name, value)
    signatures = {DEFAULT: _signature(root.__call__, specs)}
    if parts.head is not None:
        specs = {**specs, POSITIONS: tf.TensorSpec([batch, None], tf.int32, POSITIONS)}
        root.mlm = _Callable(parts.with_logits, specs, parts.variables(head=True))
        signatures["mlm"] = _signature(root.mlm.__call__, specs)
    return root, signatures


def _signature(call: Function, specs: dict[str, tf.TensorSpec]) -> Function:
    def compute(**inputs: tf.Tensor) -> Tensors:
        return {name: value for name, value in call(inputs).items() if name != LAYERS}

    function = tf.function(compute, autograph=False)
    return function.get_concrete_function(**specs)
