"""A sentence-transformers model as TensorFlow functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import tensorflow as tf

from tf_exporter.errors import UnsupportedError, UsageError
from tf_exporter.graph.description import Description
from tf_exporter.graph.hybrid_pipeline import HybridPipeline, largest_by_id
from tf_exporter.graph.inputs import flatten, paired
from tf_exporter.graph.pipeline import Pipeline, Results
from tf_exporter.graph.placement import keep_on_cpu
from tf_exporter.graph.precision import reduce_precision
from tf_exporter.graph.request_batching import RequestQueues
from tf_exporter.graph.signatures import Signature, signatures, tokenize_name
from tf_exporter.graph.token_pipeline import TokenPipeline, max_sim
from tf_exporter.layers import sparse
from tf_exporter.layers.activations import TORCH_ACTIVATIONS
from tf_exporter.model.source import ModelSource
from tf_exporter.modules.base import Module, TextModule
from tf_exporter.modules.dimensions import Dimensions
from tf_exporter.modules.hybrid import HybridHeads, exports_heads, left_out_ids
from tf_exporter.modules.layers import build_module
from tf_exporter.modules.model_spec import ModelSpec
from tf_exporter.modules.module_spec import ModuleSpec
from tf_exporter.modules.multi_vector_mask.layer import MultiVectorMask
from tf_exporter.modules.normalize.layer import Normalize
from tf_exporter.modules.pooling.layer import Pooling
from tf_exporter.modules.reading import read_module
from tf_exporter.modules.transformer.late_texts import LateTransformer
from tf_exporter.modules.transformer.layer import Transformer
from tf_exporter.modules.transformer.tasks import TaskTransformer
from tf_exporter.names import (
    CROSS_ENCODER,
    DEFAULT,
    DOCUMENT,
    INDICES,
    INPUT,
    MULTI_VECTOR,
    OUTPUT,
    QUERY,
    SCORES,
    SENTENCE_TRANSFORMER,
    SPARSE_ENCODER,
    VECTOR_IDS,
    VECTOR_MASK,
    VECTORS,
    WEIGHTS,
)
from tf_exporter.options import Options
from tf_exporter.tokenizers.chat.settings import Use
from tf_exporter.tokenizers.contract import TextTokenizer
from tf_exporter.tokenizers.post_processors import Described, Padded

_BuildKey = tuple[int, tuple[tuple[str, int | None], ...]]
"""A module's spec, by its `id`, and the dimensions before the module."""
_NEEDED_MODULES = {
    VECTORS: "a module that makes token_embeddings, such as Transformer",
    OUTPUT: "a module that makes a sentence_embedding, such as Pooling",
    SCORES: "a module that makes scores",
}


class TextModel(tf.Module):
    """A sentence-transformers model as TensorFlow functions."""

    def __init__(self, source: ModelSource, spec: ModelSpec, options: Options):
        super().__init__()
        self.kind = spec.kind
        self.output = {CROSS_ENCODER: SCORES, MULTI_VECTOR: VECTORS}.get(spec.kind, OUTPUT)
        self._mean = spec.mean_score
        truncate_dim = (
            options.truncate_dim if options.truncate_dim is not None else spec.truncate_dim
        )
        if options.truncate_dim is not None and spec.kind != SENTENCE_TRANSFORMER:
            raise UsageError(
                f"--truncate-dim {options.truncate_dim}: not available for a {spec.kind}"
            )
        batching = options.requests
        self.queues = None if batching is None else RequestQueues(batching)
        """The queues that join calls; None: each call is computed by itself."""
        self.max_active_dims, self._batch_size = spec.max_active_dims, options.batch_size
        self.signatures = signatures(spec, options.prompt_name)
        self.tokenize_signatures = _tokenize_signatures(self.signatures, spec)
        self._adapters = spec.adapter_folders()
        built: dict[_BuildKey, tuple[Module, Dimensions]] = {}
        self.pipelines: dict[str, Pipeline] = {}
        for route in _routes(self.signatures):
            modules, dimensions = _build_all(source, spec.pipelines[route], options, built)
            if self.output not in dimensions:
                kinds = [module.kind for module in spec.pipelines[route]]
                raise UnsupportedError("modules.json", "type", kinds, _NEEDED_MODULES[self.output])
            dim = dimensions[self.output]
            assert dim is not None  # all widths are known after a build
            fixed = options.batch_size, options.sequence_length
            if fixed != (None, None) and not isinstance(modules[0], (Transformer, TaskTransformer)):
                kind = spec.pipelines[route][0].kind
                raise UnsupportedError(
                    "modules.json", "[0].type", kind, "Transformer, where shapes are fixed"
                )
            if route == self.signatures[DEFAULT].route:
                starts = isinstance(modules[0], (Transformer, TaskTransformer))
                self.token_width = dimensions.get(VECTORS) if starts else None
                self.normalizes = isinstance(modules[-1], Normalize)
            make = TokenPipeline if spec.kind == MULTI_VECTOR else Pipeline
            self.pipelines[route] = make(modules, self.output, min(dim, truncate_dim or dim), fixed)
        # With padding on the left, FlagEmbedding leaves out the first place, not the first token.
        wants_heads = exports_heads(source, spec, options)
        fits = self.first.tokenizer_spec.padding_side == "right"
        self.hybrid = self._build_heads(source) if wants_heads and fits else None
        self._prepare()
        reduce_precision(self, options.precision)
        self.on_cpu = keep_on_cpu(self) if options.embeddings_on_cpu else set()
        """Names of the variables that are loaded into the host's memory."""
        self.dim = self.pipelines[self.signatures[DEFAULT].route].dim
        self._activation = _score_activation(spec, self.dim)

    def _build_heads(self, source: ModelSource) -> HybridPipeline:
        plain = self.pipelines[self.signatures[DEFAULT].route]
        assert self.token_width is not None  # the model begins with a Transformer
        return HybridPipeline(plain, HybridHeads(source, VECTORS, self.token_width))

    def _prepare(self) -> None:
        """Prepares the first module of each route for the signatures, a shared one once."""
        uses: dict[TextModule, list[Use]] = {}
        for signature in self.signatures.values():
            first = self.pipelines[signature.route].first
            uses.setdefault(first, [Use()]).append(signature.use)
        for first, own in uses.items():
            first.prepare(list(dict.fromkeys(own)), pairs=self.kind == CROSS_ENCODER)

    def describe(self) -> Description:
        """The description of the model, without its weights."""
        tokenizing = {
            name: self.pipelines[route].first for name, route in self.tokenize_signatures.items()
        }
        firsts = [
            first
            for first in tokenizing.values()
            if isinstance(first, (Transformer, TaskTransformer, LateTransformer))
        ]
        used = [module for pipeline in self.pipelines.values() for module in pipeline.others]
        return Description(
            kind=self.kind,
            output=self.output,
            dim=self.dim,
            signatures=self.signatures,
            leaking=frozenset(
                name
                for name, signature in self.signatures.items()
                if self.pipelines[signature.route].pads_leak
            ),
            tokenizers={
                name: (first.hf_tokenizer, first.tokenizer_spec)
                for name, first in tokenizing.items()
            },
            batch_size=self._batch_size,
            poolings=tuple(
                tuple(module.modes) for module in dict.fromkeys(used) if isinstance(module, Pooling)
            ),
            micro_batch_tokens=self.first.micro_batch_tokens,
            tokens_around=self.first.tokens_around,
            frames={
                name: frame
                for name, signature in self.signatures.items()
                if (frame := self.pipelines[signature.route].first.frames().get(signature.use))
            },
            adapters=self._adapters,
            strips=self.first.strips,
            unknown_words=tuple(
                dict.fromkeys(
                    word
                    for module in used
                    if isinstance(module, MultiVectorMask)
                    for word in module.unknown_words
                )
            ),
            truncated_to=min(
                (first.truncated_to for first in firsts if first.truncated_to), default=None
            ),
        )

    @property
    def first(self) -> TextModule:
        """The module that takes the texts of `serving_default`."""
        return self.pipelines[self.signatures[DEFAULT].route].first

    def tokenize(
        self, texts: tf.Tensor, pairs: tf.Tensor | None = None, name: str = "tokenize"
    ) -> dict[str, tf.Tensor]:
        """Bytes [batch] or [batch, 1] → ids and masks, see `Described`; int32 [batch, longest].

        The texts get no prompt.
        """
        first = self.pipelines[self.tokenize_signatures[name]].first
        inputs = (flatten(texts, INPUT),) if pairs is None else paired(texts, pairs)
        described = first.tokenizer.described(first.bare_encodings(*inputs))
        return _present(described)

    def tokenize_with_offsets(
        self, texts: tf.Tensor, pairs: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """`tokenize` with `offset_mapping`, int32 [batch, longest, 2]; see `Described`."""
        inputs = (flatten(texts, INPUT),) if pairs is None else paired(texts, pairs)
        tokenizer = self._aligned
        encodings = tokenizer(*inputs) if pairs is None else tokenizer.pairs(*inputs)
        return _present(tokenizer.described(encodings))

    @cached_property
    def _aligned(self) -> TextTokenizer:
        build = self.first.aligned
        assert build is not None, "the signature is refused for this model"
        return build()

    def encode(self, texts: tf.Tensor, signature: Signature) -> tf.Tensor:
        """Bytes [batch] or [batch, 1] → float32 [batch, dim], with the signature's prompt."""
        [embeddings] = self._joined(signature, flatten(texts, INPUT))
        if self.kind == SPARSE_ENCODER and self.max_active_dims is not None:
            embeddings = sparse.keep_largest(embeddings, tf.abs(embeddings), self.max_active_dims)
        return embeddings

    def vectors(self, texts: tf.Tensor, signature: Signature) -> Results:
        """Bytes [batch] or [batch, 1] → vectors, mask and ids; see `TokenPipeline.shortened`."""
        pipeline = self.pipelines[signature.route]
        assert isinstance(pipeline, TokenPipeline)
        return pipeline.shortened(self._joined(signature, flatten(texts, INPUT)))

    def _joined(self, signature: Signature, *texts: tf.Tensor) -> Results:
        """The results of a signature's pipeline, in one batch with other calls if asked for."""
        pipeline = self.pipelines[signature.route]
        return pipeline.joined(
            self.queues,
            (signature.route, signature.prompt),
            lambda *texts: pipeline.first.encodings(signature.use, *texts),
            pipeline.prompt_length(signature.prompt),
            texts,
        )

    def tokens(self, texts: tf.Tensor) -> Results:
        """Bytes [batch] or [batch, 1] → the vectors of all tokens, as `vectors`.

        They are those before the pooling, with the prompt of `serving_default`.
        """
        signature = self.signatures[DEFAULT]
        pipeline = self.pipelines[signature.route]
        assert self.token_width is not None
        modules = [pipeline.first, *pipeline.others]
        tokens = TokenPipeline(modules, VECTORS, self.token_width)
        return tokens.vectors(pipeline.first.encodings(signature.use, flatten(texts, INPUT)))

    def encode_all(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Bytes [batch] or [batch, 1] → the embeddings, and what bge-m3's heads give.

        The sparse ones are `indices` int32 and `weights` float32, [batch, k]. The vectors are those
        of all tokens but the first: `token_embeddings`, `mask` and `input_ids`, as of `vectors`.
        """
        signature, pipeline = self.signatures[DEFAULT], self.hybrid
        assert pipeline is not None
        encodings = pipeline.first.encodings(signature.use, flatten(texts, INPUT))
        results = pipeline.hybrid(encodings, pipeline.prompt_length(signature.prompt))
        special = left_out_ids(pipeline.first.hf_tokenizer)
        indices, weights = largest_by_id(results, special)
        return {
            OUTPUT: results.embedding,
            INDICES: indices,
            WEIGHTS: weights,
            VECTORS: results.vectors[:, 1:],
            VECTOR_MASK: results.mask[:, 1:],
            VECTOR_IDS: results.ids[:, 1:],
        }

    def encode_ids(self, ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """int32 [batch, length] each → float32 [batch, dim], all at once and without segments."""
        pipeline = self.pipelines[self.signatures[DEFAULT].route]
        [embeddings] = pipeline.compute(Padded(ids, mask, tf.zeros_like(ids)))
        return embeddings

    def score(self, queries: tf.Tensor, documents: tf.Tensor) -> tf.Tensor:
        """One query, or one for each document, and the documents → float32 [documents]."""
        query, document = flatten(queries, QUERY), flatten(documents, DOCUMENT)
        count, wanted = tf.size(query), tf.size(document)
        message = "one query, or one for each document, is expected; the numbers of both are"
        fits = tf.debugging.Assert((count == 1) | (count == wanted), [message, count, wanted])
        with tf.control_dependencies([fits]):
            query = tf.identity(query)
        theirs, ours = (
            self.vectors(texts, self.signatures[f"encode_{task}"])
            for texts, task in ((query, QUERY), (document, DOCUMENT))
        )
        return max_sim(theirs, ours, self._mean)

    def predict(self, texts: tf.Tensor, pairs: tf.Tensor, signature: Signature) -> tf.Tensor:
        """Bytes [batch] or [batch, 1], twice → float32 [batch, labels]; [batch] for one label.

        The prompt goes before the first text of each pair, or is a template's system message.
        """
        [scores] = self._joined(signature, *paired(texts, pairs))
        scores = self._activation(scores)
        return tf.squeeze(scores, 1) if self.dim == 1 else scores


def _present(described: Described) -> dict[str, tf.Tensor]:
    """The outputs of a signature that gives token ids."""
    outputs: dict[str, tf.Tensor | None] = described._asdict()
    return {name: matrix for name, matrix in outputs.items() if matrix is not None}


def _routes(used: dict[str, Signature]) -> list[str]:
    """The routes of signatures, each once."""
    return list(dict.fromkeys(signature.route for signature in used.values()))


def _tokenize_signatures(used: dict[str, Signature], spec: ModelSpec) -> dict[str, str]:
    """The signatures with token ids, and their routes: one for each tokenizer.

    Adapters for tasks share a Transformer, and so its tokenizer.
    """
    seen: dict[int, str] = {}
    for route in _routes(used):
        first = spec.pipelines[route][0]
        seen.setdefault(id(first.transformer or first), route)
    return {tokenize_name(route, spec): route for route in seen.values()}


def _score_activation(spec: ModelSpec, labels: int) -> Callable[[tf.Tensor], tf.Tensor]:
    return TORCH_ACTIVATIONS[spec.activation_fn or ("Sigmoid" if labels == 1 else "Identity")]


def _build_all(
    source: ModelSource,
    specs: tuple[ModuleSpec, ...],
    options: Options,
    built: dict[_BuildKey, tuple[Module, Dimensions]],
) -> tuple[list[Module], Dimensions]:
    """The modules of a route, and the dimensions after them.

    `built` has the modules of earlier routes. Modules that routes share are built once.
    """
    modules: list[Module] = []
    dimensions = Dimensions()
    for spec in specs:
        # The tasks of a Transformer share it.
        key = (id(spec.transformer or spec.config), tuple(sorted(dimensions.items())))
        if spec.kind == "MultiVectorMask" and spec.text_task is not None:
            config: Any = read_module(spec, dimensions)
            first = modules[0]
            assert isinstance(first, LateTransformer)
            modules.append(MultiVectorMask(config, spec.text_task, first.hf_tokenizer))
            continue
        if key not in built:
            built[key] = (build_module(source, spec, options, dimensions), dimensions.copy())
        module, dimensions = built[key][0], built[key][1].copy()
        if spec.task is not None:
            assert isinstance(module, Transformer)
            module = TaskTransformer(module, spec.task)
        if spec.text_task is not None and isinstance(module, Transformer):
            module = LateTransformer(module, spec.text_task)
        modules.append(module)
    return modules, dimensions
