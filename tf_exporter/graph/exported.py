"""The saved object of a sentence-transformers model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_exporter.graph.extras import check_extras, check_free, extra_functions, selected
from tf_exporter.graph.signatures import Signature, sparse_name
from tf_exporter.graph.text_model import TextModel
from tf_exporter.layers import sparse
from tf_exporter.model.untyped import Function
from tf_exporter.names import (
    ALL,
    CROSS_ENCODER,
    DEFAULT,
    DOCUMENT,
    INDICES,
    INPUT,
    MULTI_VECTOR,
    MULTI_VECTORS,
    OUTPUT,
    PAIR,
    QUERY,
    SCORE,
    SCORES,
    SPARSE,
    SPARSE_ENCODER,
    VECTOR_IDS,
    VECTOR_MASK,
    VECTORS,
    WEIGHTS,
)

_TEXTS = tf.TensorSpec(None, tf.string)


class Exported(tf.Module):
    """The saved object: the variables, `__call__`, and the functions of the signatures."""

    def __init__(self, model: TextModel):
        super().__init__()
        self.model = model
        self._pairs = model.kind == CROSS_ENCODER
        inputs = [_TEXTS] * (1 + self._pairs)
        # Signatures with the same prompt and route share a function.
        self._functions = {
            _key(signature): tf.function(
                self._computing(signature), input_signature=inputs, autograph=False
            )
            for signature in reversed(model.signatures.values())
        }
        self.__call__ = self._function(model.signatures[DEFAULT])

    def _computing(self, signature: Signature) -> Callable[..., Any]:
        if self.model.kind == MULTI_VECTOR:
            return lambda texts: self.model.vectors(texts, signature)
        if self._pairs:
            return lambda texts, pairs: self.model.predict(texts, pairs, signature)
        return lambda texts: self.model.encode(texts, signature)

    def _function(self, signature: Signature) -> Function:
        return self._functions[_key(signature)]

    def signature_functions(
        self, asked: tuple[str, ...] | None = None, calibration: list[str] | None = None
    ) -> dict[str, tf.types.experimental.GenericFunction]:
        """Name → function of `input_sequence` (and `pair_sequence`), for `tf.saved_model.save`.

        Args:
            asked: the names of signatures to export; None: all but further ones.
            calibration: texts for the ranges of `encode_int8`.

        Raises:
            UsageError: there is no signature of such a name.
            UnsupportedError: a prompt's signature has the name of one with another meaning.
        """
        check_extras(self.model, asked or ())
        encode = self._function(self.model.signatures[DEFAULT])
        extras = extra_functions(self.model, encode, asked or (), calibration)
        needed = {SCORE: [f"encode_{task}" for task in (QUERY, DOCUMENT)]}
        if self.model.kind == SPARSE_ENCODER:
            needed = {name: [sparse_name(name)] for name in self.model.signatures}
        own = self._all_functions()
        check_free(extras, own)
        return selected({**own, **extras}, asked, needed)

    def _all_functions(self) -> dict[str, Function]:
        functions: dict[str, Callable[..., dict[str, tf.Tensor]]] = {}
        for name, signature in self.model.signatures.items():
            functions[name] = self._dense(signature)
            if self.model.kind == SPARSE_ENCODER:
                functions[sparse_name(name)] = self._sparse(signature)
        for name in self.model.tokenize_signatures:
            functions[name] = self._tokenizing(name)
        names = [INPUT, PAIR] if self._pairs else [INPUT]
        exported = {name: _taking(names, function) for name, function in functions.items()}
        if self.model.kind == MULTI_VECTOR:
            exported[SCORE] = _taking(
                [QUERY, DOCUMENT],
                lambda query, document: {SCORES: self.model.score(query, document)},
            )
        heads = self._hybrid() if self.model.hybrid else {}
        check_free(heads, exported)
        return {**exported, **heads}

    def _hybrid(self) -> dict[str, Function]:
        """The signatures with bge-m3's heads, which share one function."""
        texts = [_TEXTS]
        everything = tf.function(self.model.encode_all, input_signature=texts, autograph=False)
        outputs = {
            SPARSE: (INDICES, WEIGHTS),
            MULTI_VECTORS: (VECTORS, VECTOR_MASK, VECTOR_IDS),
            ALL: (OUTPUT, INDICES, WEIGHTS, VECTORS, VECTOR_MASK, VECTOR_IDS),
        }
        return {
            name: _taking([INPUT], _some_of(everything, kept)) for name, kept in outputs.items()
        }

    def _dense(self, signature: Signature) -> Callable[..., dict[str, tf.Tensor]]:
        if self.model.kind == MULTI_VECTOR:
            names = VECTORS, VECTOR_MASK, VECTOR_IDS
            return lambda input_sequence: dict(
                zip(names, self._function(signature)(input_sequence))
            )
        if self._pairs:
            return lambda input_sequence, pair_sequence: {
                SCORES: self._function(signature)(input_sequence, pair_sequence)
            }
        return lambda input_sequence: {OUTPUT: self._function(signature)(input_sequence)}

    def _sparse(self, signature: Signature) -> Callable[..., dict[str, tf.Tensor]]:
        def encode_sparse(input_sequence: tf.Tensor) -> dict[str, tf.Tensor]:
            indices, weights = sparse.active(
                self._function(signature)(input_sequence), self.model.max_active_dims
            )
            return {INDICES: indices, WEIGHTS: weights}

        return encode_sparse

    def _tokenizing(self, name: str) -> Callable[..., dict[str, tf.Tensor]]:
        if self._pairs:
            return lambda input_sequence, pair_sequence: self.model.tokenize(
                input_sequence, pair_sequence, name=name
            )
        return lambda input_sequence: self.model.tokenize(input_sequence, name=name)


def _taking(
    names: list[str], function: Callable[..., dict[str, tf.Tensor]]
) -> tf.types.experimental.GenericFunction:
    """A function of strings with these names."""
    specs = [tf.TensorSpec(None, tf.string, name=name) for name in names]
    return tf.function(function, input_signature=specs, autograph=False)


def _some_of(
    function: Function, kept: tuple[str, ...]
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """The function with some of its results."""

    def some(input_sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        results = function(input_sequence)
        return {name: results[name] for name in kept}

    return some


def _key(signature: Signature) -> str:
    return repr((signature.route, signature.prompt))
