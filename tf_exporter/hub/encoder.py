"""The three inputs → token and text embeddings, with TensorFlow Hub's API for text encoders, to be used or trained further.

As `official.nlp.tools.export_tfhub` in tf-models-official 2.20 exports them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tf_exporter.encoders.training import DropoutRates, dropout
from tf_exporter.hub.preprocessing import INPUTS, MASK, TYPE_IDS, WORD_IDS

POSITIONS = "masked_lm_positions"
POOLED, DEFAULT_OUTPUT, SEQUENCE, LAYERS, LOGITS = (
    "pooled_output",
    "default",
    "sequence_output",
    "encoder_outputs",
    "mlm_logits",
)
Tensors = dict[str, Any]


@dataclass(frozen=True)
class Parts:
    """What an encoder is made of."""

    encoder: Any
    """int32 ids, mask, types [batch, length] → float32 [batch, length, hidden]"""
    pooler: Callable[[tf.Tensor], tf.Tensor]
    head: Any | None
    """Of the masked language model."""
    rates: DropoutRates
    has_types: bool
    """Whether segments matter to the encoder."""

    def __call__(self, inputs: Tensors, training: bool) -> Tensors:
        """The outputs of an encoder."""
        ids, mask, types = (inputs[name] for name in (WORD_IDS, MASK, TYPE_IDS))
        ids = _checked_length(ids, self.encoder.config.max_length)
        layers: list[tf.Tensor] = []
        with dropout(self.rates if training else DropoutRates(0.0, 0.0)):
            tokens = self.encoder(ids, mask, types if self.has_types else tf.zeros_like(types), layers)
        shape = tf.shape(tokens)
        outputs = [*(tf.reshape(x, shape) for x in layers[1:]), tokens]
        # So that a fixed shape shows.
        outputs = [tf.ensure_shape(x, [*ids.shape, tokens.shape[-1]]) for x in outputs]
        pooled = self.pooler(outputs[-1])
        return {POOLED: pooled, DEFAULT_OUTPUT: pooled, SEQUENCE: outputs[-1], LAYERS: outputs}

    def with_logits(self, inputs: Tensors, training: bool) -> Tensors:
        """The outputs of an encoder, and the scores of all tokens at the positions that are asked for."""
        assert self.head is not None
        found = self({name: inputs[name] for name in INPUTS}, training)
        positions = _checked_positions(inputs[POSITIONS], tf.shape(found[SEQUENCE])[1])
        tokens = tf.gather(found[SEQUENCE], positions, batch_dims=1)
        logits = self.head(tokens, None, None)
        return {**found, LOGITS: tf.ensure_shape(logits, [*positions.shape, self.head.width])}

    def variables(self, head: bool) -> list[tf.Variable]:
        """All, in order, each once; `head`: those of the head, too."""
        modules = [self.encoder, self.pooler, *([self.head] if head else [])]
        found = [variable for module in modules for variable in module.variables]
        return list({id(variable): variable for variable in found}.values())


def _checked_length(ids: tf.Tensor, most: int | None) -> tf.Tensor:
    if most is None:
        return ids
    length = tf.shape(ids)[1]
    message = f"{WORD_IDS} may have at most {most} places a text, the positions of the encoder; got"
    with tf.control_dependencies([tf.debugging.Assert(length <= most, [message, length])]):
        # Without the shape that a call happens to have, of which TensorFlow would complain first, in other words.
        return tf.compat.v1.placeholder_with_default(ids, ids.shape)


def _checked_positions(positions: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    inside = tf.reduce_all((positions >= 0) & (positions < length))
    message = f"{POSITIONS} must be below the inputs' length and not negative; got"
    with tf.control_dependencies([tf.debugging.Assert(inside, [message, positions])]):
        return tf.identity(positions)


class _Callable(tf.train.Checkpoint):
    """Called with a dict of int32 tensors and `training`; its variables, as Keras layers of TensorFlow Hub look for them."""

    def __init__(
        self, compute: Callable[[Tensors, bool], Tensors], specs: dict[str, tf.TensorSpec], variables: list[tf.Variable]
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
    """What is saved, and its signatures, which have the last layer's output alone.

    Args:
        parts: what it is made of.
        assets: further attributes, of the vocabulary.
        batch: the number of texts, where it is fixed.
        length: their tokens, where they are fixed.
    """
    specs = {name: tf.TensorSpec([batch, length], tf.int32, name) for name in INPUTS}
    root = _Callable(parts, specs, parts.variables(head=False))
    for name, value in assets.items():
        setattr(root, name, value)
    signatures = {"serving_default": _signature(root.__call__, specs)}
    if parts.head is not None:
        specs = {**specs, POSITIONS: tf.TensorSpec([batch, None], tf.int32, POSITIONS)}
        root.mlm = _Callable(parts.with_logits, specs, parts.variables(head=True))
        signatures["mlm"] = _signature(root.mlm.__call__, specs)
    return root, signatures


def _signature(call: Any, specs: dict[str, tf.TensorSpec]) -> Any:
    def compute(**inputs: tf.Tensor) -> Tensors:
        return {name: value for name, value in call(inputs).items() if name != LAYERS}

    function = tf.function(compute, autograph=False)
    return function.get_concrete_function(**specs)
