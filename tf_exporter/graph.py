"""The assembled model: strings in, embeddings out, one function a signature."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import tensorflow as tf

from tf_exporter.errors import UnsupportedError, UsageError
from tf_exporter.modules import MODULES
from tf_exporter.modules.features import Dimensions, Features, Module
from tf_exporter.modules.pooling import Pooling
from tf_exporter.modules.transformer import Transformer
from tf_exporter.source import ModelSource
from tf_exporter.spec import ModelSpec, ModuleSpec
from tf_exporter.tokenizers.post_processors import Encodings, Padded
from tf_exporter.weights import open_weights

INPUT, OUTPUT = "input_sequence", "sentence_embedding"
_TEXTS = tf.TensorSpec(None, tf.string)
DOCUMENT_PROMPTS = ("document", "passage", "corpus")
"""Where encode_document looks for its prompt, in this order."""


@dataclass(frozen=True)
class Options:
    """What the user can choose."""

    max_seq_length: int | None = None
    truncate_dim: int | None = None
    prompt_name: str | None = None
    micro_batch_tokens: int = 1024
    quiet: bool = True
    tokenizer_ops: str = "core"


class SentenceEncoder(tf.Module):
    """A sentence-transformers model as TensorFlow functions."""

    def __init__(self, source: ModelSource, spec: ModelSpec, options: Options):
        super().__init__()
        dimensions = Dimensions()
        self.transformer = Transformer(
            source, spec.transformer, options.max_seq_length, dimensions, options.quiet, options.tokenizer_ops
        )
        self.modules = [_build(source, module, dimensions) for module in spec.modules]
        if OUTPUT not in dimensions:
            kinds = [module.kind for module in spec.modules]
            raise UnsupportedError("modules.json", "type", kinds, "a module that makes a sentence_embedding, as Pooling")
        truncate_dim = options.truncate_dim if options.truncate_dim is not None else spec.truncate_dim
        self.dim = min(dimensions[OUTPUT], truncate_dim or dimensions[OUTPUT])
        self.micro_batch_tokens = options.micro_batch_tokens
        self.prompts = signature_prompts(spec, options.prompt_name)
        self._needs_prompt_length = any(isinstance(module, Pooling) and not module.includes_prompt for module in self.modules)

    def tokenize(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Bytes [batch] or [batch, 1] → `input_ids`, `attention_mask` int32 [batch, longest], without a prompt."""
        encodings = self.transformer.tokenizer(flatten(texts))
        padded = self.transformer.tokenizer.padding(encodings)
        return {"input_ids": padded.input_ids, "attention_mask": padded.attention_mask}

    def encode(self, texts: tf.Tensor, prompt: str) -> tf.Tensor:
        """Bytes [batch] or [batch, 1] → float32 [batch, dim], each text behind `prompt`."""
        texts = flatten(texts)
        if prompt:
            texts = tf.strings.join([tf.constant(prompt.encode("utf-8")), texts])
        encodings = self.transformer.tokenizer(texts)
        prompt_length = self.prompt_length(prompt) if prompt and self._needs_prompt_length else None
        return self._in_micro_batches(encodings, prompt_length)

    def prompt_length(self, prompt: str) -> int:
        """Tokens of the prompt by itself, without a special token at its end; what `include_prompt=False` leaves out."""
        spec = self.transformer.tokenizer_spec
        tokenizer = self.transformer.hf_tokenizer
        limit = {"truncation": True, "max_length": spec.max_length} if spec.max_length else {}
        ids = tokenizer(prompt, **limit)["input_ids"]
        return len(ids) - (ids[-1:] != [] and ids[-1] in spec.special_ids)

    def _in_micro_batches(self, encodings: Encodings, prompt_length: int | None) -> tf.Tensor:
        """Rows in order of length, some thousand tokens at a time, each slice padded to its own longest.

        So the cost follows the tokens there are, and memory does not grow with the batch.
        """
        order = tf.argsort(encodings.lengths, direction="DESCENDING", stable=True)
        lengths = tf.gather(encodings.lengths, order)
        starts, sizes = tf.gather(encodings.starts, order), tf.gather(encodings.sizes, order)
        encodings = Encodings(encodings.ids, starts, sizes, lengths)
        batch = tf.shape(lengths)[0]

        def one_slice(done: tf.Tensor, embeddings: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            rows = tf.maximum(1, self.micro_batch_tokens // tf.maximum(1, lengths[done]))
            end = tf.minimum(done + rows, batch)
            padded = self.transformer.tokenizer.padding(encodings, slice(done, end))
            embedded = self._embed(padded, prompt_length)
            return end, tf.tensor_scatter_nd_update(embeddings, order[done:end, tf.newaxis], embedded)

        _, embeddings = tf.while_loop(
            lambda done, _: done < batch,
            one_slice,
            (tf.constant(0), tf.zeros([batch, self.dim])),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, self.dim])),
            parallel_iterations=1,
        )
        return embeddings

    def _embed(self, padded: Padded, prompt_length: int | None) -> tf.Tensor:
        features: Features = dict(padded._asdict())
        if prompt_length is not None:
            features["prompt_length"] = tf.constant(prompt_length)
        steps: list[Module] = [self.transformer, *self.modules]
        for module in steps:
            features = module(features)
        return features[OUTPUT][:, : self.dim]


def _build(source: ModelSource, spec: ModuleSpec, dimensions: Dimensions) -> Module:
    kind = MODULES[spec.kind]
    if not kind.weighted:
        module: Module = kind(spec.config, None, dimensions)  # type: ignore[arg-type]  # those have no use for weights
        return module
    weights = open_weights(source, spec.folder)
    module = kind(spec.config, weights, dimensions)
    weights.finish()
    return module


def flatten(texts: tf.Tensor) -> tf.Tensor:
    """[batch] or [batch, 1] → [batch]; anything else is an error that says so when the graph runs."""
    shape = tf.shape(texts)
    rank = tf.size(shape)
    fits = (rank > 0) & (rank < 3) & (tf.reduce_prod(shape[1:]) == 1)
    message = f"{INPUT} must have shape [batch] or [batch, 1]; got shape"
    with tf.control_dependencies([tf.debugging.Assert(fits, [message, shape])]):
        return tf.reshape(texts, [-1])


def signature_prompts(spec: ModelSpec, prompt_name: str | None) -> dict[str, str]:
    """Signature → prompt: `serving_default` and one for each prompt of the model, as sentence-transformers names them.

    Raises:
        UsageError: `prompt_name` is none of the model's prompts.
        UnsupportedError: two prompts' names lead to one signature.
    """
    known = {"query": "", "document": "", **spec.prompts}
    name = prompt_name if prompt_name is not None else spec.default_prompt_name
    if name is not None and name not in known:
        raise UsageError(f"--prompt-name {name}: the model's prompts are {', '.join(map(repr, known))}")
    signatures = {"serving_default": "" if name is None else known[name]}
    for key, prompt in spec.prompts.items():
        signature = "encode_" + re.sub(r"[^A-Za-z0-9_.-]", "_", key)
        if signature in signatures:
            raise UnsupportedError("config_sentence_transformers.json", f"prompts.{key}", prompt, "distinct names")
        signatures[signature] = prompt
    if spec.prompts:
        # sentence-transformers has "query" and "document" in every model, empty where they are not configured.
        signatures.setdefault("encode_query", known["query"])
        document = next((known[key] for key in DOCUMENT_PROMPTS if key in known), "")
        signatures.setdefault("encode_document", document)
    return signatures


class Exported(tf.Module):
    """What is saved: the variables, `__call__`, and the functions the signatures are made of."""

    def __init__(self, encoder: SentenceEncoder):
        super().__init__()
        self.encoder = encoder
        # One function a distinct prompt, so that signatures with the same prompt share it.
        self._encode = {
            prompt: tf.function(partial(encoder.encode, prompt=prompt), input_signature=[_TEXTS], autograph=False)
            for prompt in dict.fromkeys(encoder.prompts.values())
        }

    @tf.function(input_signature=[_TEXTS], autograph=False)
    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Strings [batch] → float32 [batch, dim], as `serving_default`."""
        return self._encode[self.encoder.prompts["serving_default"]](texts)

    def signature_functions(self) -> dict[str, tf.types.experimental.GenericFunction]:
        """Name → function of `input_sequence`, for `tf.saved_model.save`."""

        def encode(prompt: str) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
            return lambda input_sequence: {OUTPUT: self._encode[prompt](input_sequence)}

        functions = {name: encode(prompt) for name, prompt in self.encoder.prompts.items()}
        functions["tokenize"] = lambda input_sequence: self.encoder.tokenize(input_sequence)
        spec = tf.TensorSpec(None, tf.string, name=INPUT)
        return {name: tf.function(function, input_signature=[spec], autograph=False) for name, function in functions.items()}
