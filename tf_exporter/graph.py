"""The assembled model: strings in; embeddings, or scores of pairs, out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_exporter import sparse
from tf_exporter.activations import TORCH_ACTIVATIONS
from tf_exporter.description import Description
from tf_exporter.encoders.few import FEW_TOKENS, computed_for_few
from tf_exporter.encoders.long_texts import LONG
from tf_exporter.encoders.placement import keep_on_cpu
from tf_exporter.errors import UnsupportedError, UsageError
from tf_exporter.model.modules.dimensions import Dimensions
from tf_exporter.model.modules.reading import read_module
from tf_exporter.modules import MODULES
from tf_exporter.modules.features import Features, Module
from tf_exporter.modules.pooling import Pooling
from tf_exporter.modules.transformer import Transformer
from tf_exporter.options import Options
from tf_exporter.precision import reduce_precision
from tf_exporter.saved_model import DEFAULT
from tf_exporter.signatures import Signature, signatures, sparse_name, tokenize_name
from tf_exporter.source import ModelSource
from tf_exporter.spec import CROSS_ENCODER, SENTENCE_TRANSFORMER, SPARSE_ENCODER, ModelSpec, ModuleSpec
from tf_exporter.tokenizers.missing_rows import row_check
from tf_exporter.tokenizers.post_processors import Encodings, Padded
from tf_exporter.tokenizers.stream import not_inlined, one_function
from tf_exporter.weights import open_weights

INPUT, PAIR, OUTPUT, SCORES = "input_sequence", "pair_sequence", "sentence_embedding", "scores"
INDICES, WEIGHTS = "indices", "weights"
PARALLEL_SLICES = 4
"""Slices computed at a time, where TensorFlow has threads for them (`inter_op_parallelism_threads`): two of them on a thread each
are done sooner than one after the other on two threads. Each has memory of its own."""
_TEXTS = tf.TensorSpec(None, tf.string)
_FEATURE_CONFIGS = {OUTPUT: "a module that makes a sentence_embedding, as Pooling", SCORES: "a module that makes scores"}


class Pipeline(tf.Module):
    """The modules that texts of one route go through."""

    def __init__(self, modules: list[Any], output: str, dim: int, fixed: tuple[int | None, int | None] = (None, None)):
        """`fixed`: texts of a batch, and their tokens."""
        super().__init__()
        self._fixed = fixed
        self.first, *self.others = modules
        self.dim = dim
        self._output = output
        self._function = one_function(self._embeddings)
        self._row_check = row_check(self.first.tokenizer_spec)
        self._takes_long = isinstance(self.first, Transformer) and self.first.takes_long
        self._most_rows: int | None = getattr(self.first, "most_rows", None)
        self.pads_leak = any(module.pads_leak for module in modules if hasattr(module, "pads_leak"))
        """Whether padding changes what the reference makes of a text; never what we make of it."""
        self.needs_prompt_length = getattr(self.first, "counts_prompt", True) and any(
            isinstance(module, Pooling) and not module.includes_prompt for module in self.others
        )

    def __call__(self, encodings: Encodings, prompt_length: int | None) -> tf.Tensor:
        """float32 [batch, dim]; an error where a token has no embedding."""
        if self._row_check is not None:
            encodings = self._row_check(encodings)
        return self._function(encodings, prompt_length)

    def _embeddings(self, encodings: Encodings, prompt_length: int | None) -> tf.Tensor:
        """float32 [batch, dim]: a few tokens at once, more of them in slices."""
        batch, longest = tf.size(encodings.lengths), tf.reduce_max(tf.concat([encodings.lengths, [1]], 0))
        if self._fixed != (None, None):
            return self._of_fixed_shape(encodings, prompt_length)
        count = tf.cast(batch, tf.int64) * tf.cast(longest, tf.int64)
        # Not of an empty batch, which has no first token.
        are_few = (batch > 0) & (count <= min(FEW_TOKENS, self.first.micro_batch_tokens))

        def at_once() -> tf.Tensor:
            return self._compute(self.first.tokenizer.padding(encodings), prompt_length)

        # Not inlined: of an inlined branch every op is visited, whether it is taken or not.
        results = tf.cond(
            are_few,
            not_inlined(lambda: computed_for_few(at_once)),
            not_inlined(lambda: self._in_slices(encodings, prompt_length)),
        )
        return tf.ensure_shape(results, [None, self.dim])

    def _of_fixed_shape(self, encodings: Encodings, prompt_length: int | None) -> tf.Tensor:
        """All at once, as accelerators want it: [batch, dim], the batch known, too, where it is fixed."""
        batch, length = self._fixed
        padded = self.first.tokenizer.padding(encodings, length=length)
        padded = Padded(*(tf.ensure_shape(matrix, [batch, length]) for matrix in padded))
        return tf.ensure_shape(self._compute(padded, prompt_length), [batch, self.dim])

    def _in_slices(self, encodings: Encodings, prompt_length: int | None) -> tf.Tensor:
        """Rows in order of length, `micro_batch_tokens` at a time, each slice padded to its own longest: float32 [batch, dim].

        So the cost follows the tokens there are, and memory does not grow with the batch. Slices of long texts come
        first, in a loop of their own.
        """
        order = tf.argsort(encodings.lengths, direction="DESCENDING", stable=True)
        lengths = tf.gather(encodings.lengths, order)
        starts, sizes = tf.gather(encodings.starts, order), tf.gather(encodings.sizes, order)
        encodings = Encodings(encodings.ids, starts, sizes, lengths)
        batch = tf.shape(lengths)[0]

        def one_slice(done: tf.Tensor, results: tf.Tensor, long: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
            rows = tf.maximum(1, self.first.micro_batch_tokens // tf.maximum(1, lengths[done]))
            rows = rows if self._most_rows is None else tf.minimum(rows, self._most_rows)
            end = tf.minimum(done + rows, batch)
            padded = self.first.tokenizer.padding(encodings, slice(done, end))
            result = self._compute(padded, prompt_length, long)
            return end, tf.tensor_scatter_nd_update(results, order[done:end, tf.newaxis], result)

        begin = tf.constant(0), tf.zeros([batch, self.dim])
        shapes = tf.TensorShape([]), tf.TensorShape([None, self.dim])
        if self._takes_long:
            short_from = tf.math.count_nonzero(lengths > LONG, dtype=tf.int32)

            def long_slices() -> tuple[tf.Tensor, tf.Tensor]:
                slices: tuple[tf.Tensor, tf.Tensor] = tf.while_loop(
                    lambda done, _: done < short_from,
                    lambda done, results: one_slice(done, results, long=True),
                    begin,
                    shape_invariants=shapes,
                    parallel_iterations=1,
                )
                return slices

            # TensorFlow prepares the body of a loop for seconds, even if it never runs. It prepares no branch that is not taken.
            begin = tf.cond(short_from > 0, not_inlined(long_slices), lambda: begin)
            begin[1].set_shape([None, self.dim])
        _, results = tf.while_loop(
            lambda done, _: done < batch,
            one_slice,
            begin,
            shape_invariants=shapes,
            parallel_iterations=PARALLEL_SLICES,
        )
        return results

    def _compute(self, padded: Padded, prompt_length: int | None, long: bool = False) -> tf.Tensor:
        features: Features = dict(padded._asdict())
        if prompt_length is not None:
            features["prompt_length"] = tf.constant(prompt_length)
        first = self.first.of_long_texts if long else self.first
        steps: list[Module] = [first, *self.others]
        for module in steps:
            features = module(features)
        return features[self._output][:, : self.dim]

    def prompt_length(self, prompt: str) -> int | None:
        """Tokens of the prompt by itself, without a special token at its end, where `include_prompt=False` leaves it out."""
        if not prompt or not self.needs_prompt_length:
            return None
        spec = self.first.tokenizer_spec
        limit = {"truncation": True, "max_length": spec.max_length} if spec.max_length else {}
        ids = self.first.hf_tokenizer(prompt, **limit)["input_ids"]
        return len(ids) - (ids[-1:] != [] and ids[-1] in spec.special_ids)


class TextModel(tf.Module):
    """A model of sentence-transformers as TensorFlow functions."""

    def __init__(self, source: ModelSource, spec: ModelSpec, options: Options):
        super().__init__()
        self.kind = spec.kind
        self.output = SCORES if spec.kind == CROSS_ENCODER else OUTPUT
        truncate_dim = options.truncate_dim if options.truncate_dim is not None else spec.truncate_dim
        if options.truncate_dim is not None and spec.kind != SENTENCE_TRANSFORMER:
            raise UsageError(f"--truncate-dim {options.truncate_dim}: a {spec.kind} has no such choice")
        self.max_active_dims, self._batch_size = spec.max_active_dims, options.batch_size
        self.signatures = signatures(spec, options.prompt_name)
        self.tokenize_signatures = {tokenize_name(route, spec): route for route in _used(self.signatures)}
        made: dict[tuple[int, Any], tuple[Any, Dimensions]] = {}
        self.pipelines = {}
        for route in _used(self.signatures):
            modules, dimensions = _build_all(source, spec.pipelines[route], options, made)
            if self.output not in dimensions:
                kinds = [module.kind for module in spec.pipelines[route]]
                raise UnsupportedError("modules.json", "type", kinds, _FEATURE_CONFIGS[self.output])
            dim = dimensions[self.output]
            assert dim is not None  # all widths are known behind what was built
            fixed = options.batch_size, options.sequence_length
            if fixed != (None, None) and not isinstance(modules[0], Transformer):
                kind = spec.pipelines[route][0].kind
                raise UnsupportedError("modules.json", "[0].type", kind, "Transformer, where shapes are fixed")
            self.pipelines[route] = Pipeline(modules, self.output, min(dim, truncate_dim or dim), fixed)
        reduce_precision(self, options.precision)
        self.on_cpu = keep_on_cpu(self) if options.embeddings_on_cpu else set()
        """Names of the variables that are loaded in the host's memory."""
        self.dim = self.pipelines[self.signatures[DEFAULT].route].dim
        self._activation = _score_activation(spec, self.dim)

    def describe(self) -> Description:
        """All but the weights."""
        tokenizing = {name: self.pipelines[route].first for name, route in self.tokenize_signatures.items()}
        firsts = [first for first in tokenizing.values() if isinstance(first, Transformer)]
        used = [module for pipeline in self.pipelines.values() for module in pipeline.others]
        return Description(
            kind=self.kind,
            output=self.output,
            dim=self.dim,
            signatures=self.signatures,
            leaking=frozenset(name for name, of in self.signatures.items() if self.pipelines[of.route].pads_leak),
            tokenizers={name: (first.hf_tokenizer, first.tokenizer_spec) for name, first in tokenizing.items()},
            batch_size=self._batch_size,
            poolings=tuple(tuple(module.modes) for module in dict.fromkeys(used) if isinstance(module, Pooling)),
            micro_batch_tokens=self.first.micro_batch_tokens,
            cut_at=min((first.cut_at for first in firsts if first.cut_at), default=None),
        )

    @property
    def first(self) -> Any:
        """The module that takes the texts of `serving_default`."""
        return self.pipelines[self.signatures[DEFAULT].route].first

    def tokenize(self, texts: tf.Tensor, pairs: tf.Tensor | None = None, name: str = "tokenize") -> dict[str, tf.Tensor]:
        """Bytes [batch] or [batch, 1] → `input_ids`, `attention_mask` int32 [batch, longest], without a prompt."""
        tokenizer = self.pipelines[self.tokenize_signatures[name]].first.tokenizer
        encodings = tokenizer(flatten(texts, INPUT)) if pairs is None else tokenizer.pairs(*paired(texts, pairs))
        padded = tokenizer.padding(encodings)
        return {"input_ids": padded.input_ids, "attention_mask": padded.attention_mask}

    def encode(self, texts: tf.Tensor, signature: Signature) -> tf.Tensor:
        """Bytes [batch] or [batch, 1] → float32 [batch, dim], each text behind the signature's prompt."""
        pipeline = self.pipelines[signature.route]
        encodings = pipeline.first.tokenizer(behind(signature.prompt, flatten(texts, INPUT)))
        embeddings = pipeline(encodings, pipeline.prompt_length(signature.prompt))
        if self.kind == SPARSE_ENCODER and self.max_active_dims is not None:
            embeddings = sparse.keep_largest(embeddings, tf.abs(embeddings), self.max_active_dims)
        return embeddings

    def predict(self, texts: tf.Tensor, pairs: tf.Tensor, signature: Signature) -> tf.Tensor:
        """Bytes [batch] or [batch, 1] twice → float32 scores, [batch] of one label and [batch, labels] of more.

        The prompt is put before the first text of each pair.
        """
        pipeline = self.pipelines[signature.route]
        texts, pairs = paired(texts, pairs)
        encodings = pipeline.first.tokenizer.pairs(behind(signature.prompt, texts), pairs)
        scores = self._activation(pipeline(encodings, None))
        return tf.squeeze(scores, 1) if self.dim == 1 else scores


def _used(of: dict[str, Signature]) -> list[str]:
    """The routes that signatures lead to."""
    return list(dict.fromkeys(signature.route for signature in of.values()))


def _score_activation(spec: ModelSpec, labels: int) -> Callable[[tf.Tensor], tf.Tensor]:
    return TORCH_ACTIVATIONS[spec.activation_fn or ("Sigmoid" if labels == 1 else "Identity")]


def _build_all(
    source: ModelSource, specs: tuple[ModuleSpec, ...], options: Options, made: dict[tuple[int, Any], tuple[Any, Dimensions]]
) -> tuple[list[Any], Dimensions]:
    """The modules of a route, and the features behind them. `made`: those of earlier routes; what they share is built once."""
    modules, dimensions = [], Dimensions()
    for spec in specs:
        key = (id(spec), tuple(sorted(dimensions.items())))
        if key not in made:
            made[key] = (_build(source, spec, options, dimensions), dimensions.copy())
        module, dimensions = made[key][0], made[key][1].copy()
        modules.append(module)
    return modules, dimensions


def _build(source: ModelSource, spec: ModuleSpec, options: Options, dimensions: Dimensions) -> Any:
    kind = MODULES[spec.kind]
    if kind is Transformer:
        return Transformer(source, spec, options, dimensions)
    config = read_module(spec, dimensions)
    if kind.takes_texts:
        module = kind(source, spec.folder, config, options)
        dimensions.update(module.widths)
        return module
    if not kind.weighted:
        return kind(config, None)
    weights = open_weights(source, spec.folder)
    module = kind(config, weights)
    weights.finish(getattr(kind, "unused", ()))
    return module


def behind(prompt: str, texts: tf.Tensor) -> tf.Tensor:
    """The texts with the prompt before them."""
    return tf.strings.join([tf.constant(prompt.encode("utf-8")), texts]) if prompt else texts


def _key(signature: Signature) -> str:
    return repr((signature.route, signature.prompt))


def flatten(texts: tf.Tensor, name: str) -> tf.Tensor:
    """[batch] or [batch, 1] → [batch]; anything else is an error that says so when the graph runs."""
    shape = tf.shape(texts)
    rank = tf.size(shape)
    fits = (rank > 0) & (rank < 3) & (tf.reduce_prod(shape[1:]) == 1)
    message = f"{name} must have shape [batch] or [batch, 1]; got shape"
    with tf.control_dependencies([tf.debugging.Assert(fits, [message, shape])]):
        return tf.reshape(texts, [-1])


def paired(texts: tf.Tensor, pairs: tf.Tensor, names: tuple[str, str] = (INPUT, PAIR)) -> tuple[tf.Tensor, tf.Tensor]:
    """Both flattened; numbers of texts that differ are an error that says so when the graph runs."""
    texts, pairs = flatten(texts, names[0]), flatten(pairs, names[1])
    sizes = [tf.size(texts), tf.size(pairs)]
    message = f"{names[0]} and {names[1]} must have the same length; got"
    with tf.control_dependencies([tf.debugging.Assert(tf.equal(*sizes), [message, *sizes])]):
        # Without an op of their own they would not wait, and what comes after might fail first, in other words.
        return tf.identity(texts), tf.identity(pairs)


class Exported(tf.Module):
    """What is saved: the variables, `__call__`, and the functions the signatures are made of."""

    def __init__(self, model: TextModel):
        super().__init__()
        self.model = model
        self._pairs = model.kind == CROSS_ENCODER
        inputs = [_TEXTS] * (1 + self._pairs)
        # One function for all signatures of the same prompt and route.
        self._functions = {
            _key(signature): tf.function(self._computing(signature), input_signature=inputs, autograph=False)
            for signature in reversed(model.signatures.values())
        }
        self.__call__ = self._function(model.signatures[DEFAULT])

    def _computing(self, signature: Signature) -> Callable[..., tf.Tensor]:
        if self._pairs:
            return lambda texts, pairs: self.model.predict(texts, pairs, signature)
        return lambda texts: self.model.encode(texts, signature)

    def _function(self, signature: Signature) -> Any:
        return self._functions[_key(signature)]

    def signature_functions(self) -> dict[str, tf.types.experimental.GenericFunction]:
        """Name → function of `input_sequence` (and `pair_sequence`), for `tf.saved_model.save`."""
        functions: dict[str, Callable[..., dict[str, tf.Tensor]]] = {}
        for name, signature in self.model.signatures.items():
            functions[name] = self._dense(signature)
            if self.model.kind == SPARSE_ENCODER:
                functions[sparse_name(name)] = self._sparse(signature)
        for name in self.model.tokenize_signatures:
            functions[name] = self._tokenizing(name)
        names = [INPUT, PAIR] if self._pairs else [INPUT]
        specs = [tf.TensorSpec(None, tf.string, name=name) for name in names]
        return {name: tf.function(function, input_signature=specs, autograph=False) for name, function in functions.items()}

    def _dense(self, signature: Signature) -> Callable[..., dict[str, tf.Tensor]]:
        if self._pairs:
            return lambda input_sequence, pair_sequence: {SCORES: self._function(signature)(input_sequence, pair_sequence)}
        return lambda input_sequence: {OUTPUT: self._function(signature)(input_sequence)}

    def _sparse(self, signature: Signature) -> Callable[..., dict[str, tf.Tensor]]:
        def encode_sparse(input_sequence: tf.Tensor) -> dict[str, tf.Tensor]:
            indices, weights = sparse.active(self._function(signature)(input_sequence), self.model.max_active_dims)
            return {INDICES: indices, WEIGHTS: weights}

        return encode_sparse

    def _tokenizing(self, name: str) -> Callable[..., dict[str, tf.Tensor]]:
        if self._pairs:
            return lambda input_sequence, pair_sequence: self.model.tokenize(input_sequence, pair_sequence, name=name)
        return lambda input_sequence: self.model.tokenize(input_sequence, name=name)
