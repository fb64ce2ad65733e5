"""Transformer: a tokenizer, an encoder and, where the task asks for one, a head on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tf_exporter.architectures.registry import ARCHITECTURES
from tf_exporter.encoders import ENCODERS, UNVERIFIED
from tf_exporter.encoders.long_texts import LONG
from tf_exporter.errors import UnsupportedError, UsageError
from tf_exporter.heads import build_head
from tf_exporter.model.modules.dimensions import NOT_COLLECTED, Dimensions
from tf_exporter.modules.features import Features
from tf_exporter.options import Options
from tf_exporter.parameter_names import finish_weights
from tf_exporter.progress import progress
from tf_exporter.source import ModelSource
from tf_exporter.tokenizers.loading import UNLIMITED, length_limit, load_tokenizer
from tf_exporter.tokenizers.missing_rows import with_rows
from tf_exporter.tokenizers.pipeline import TokenizerGraph
from tf_exporter.tokenizers.spec import TokenizerSpec, read_tokenizer
from tf_exporter.tokenizers.templates import Template
from tf_exporter.transformer_spec import TransformerSpec
from tf_exporter.weights import open_weights

if TYPE_CHECKING:
    from tf_exporter.spec import ModuleSpec

_LARGEST_LOGITS = 2**23
"""Numbers that a slice's logits over a whole vocabulary may be."""


class Transformer(tf.Module):
    """Texts → token ids → token embeddings, or what a head makes of them."""

    takes_texts = True

    def __init__(self, source: ModelSource, module: ModuleSpec, options: Options, dimensions: Dimensions):
        super().__init__()
        spec = module.transformer
        assert spec is not None
        configs, architecture = spec.read(), ARCHITECTURES[spec.model_type]
        self.config = configs.encoder
        self._collects = configs.all_layers and architecture.collects_layers and spec.task == "feature-extraction"
        self.pads_leak = architecture.pads_leak
        weights = open_weights(source, spec.folder, shards=True).without_prefix(architecture.prefix)
        with progress("weights", len(weights), options.quiet) as bar:
            weights.on_take = bar.update
            build_encoder = {**ENCODERS, **UNVERIFIED}[spec.model_type]
            self.encoder: Any = build_encoder(configs.encoder, weights)
            self.head = build_head(configs.head, weights, self.encoder)
        finish_weights(source, weights, architecture, spec)
        hf_tokenizer = load_tokenizer(source, spec.folder, spec.do_lower_case, spec.native_config, spec.tokenizer_kwargs)
        if spec.task == "text-generation":
            # So that the last token is at the end of every row.
            hf_tokenizer.padding_side = "left"
        self.cut_at: int | None = None
        """The limit in place of the folder's own, where the reference fails for texts as long as that."""
        own = self._max_length(module, options.max_seq_length, hf_tokenizer.model_max_length)
        if options.max_seq_length is None and options.sequence_length and own and own < options.sequence_length:
            raise UsageError(f"--sequence-length {options.sequence_length}: more than the {own} tokens that the model takes")
        self.max_length = own if options.sequence_length is None else min(own or UNLIMITED, options.sequence_length)
        self.takes_long = self.max_length is None or self.max_length > LONG
        self.tokenizer_spec = read_tokenizer(hf_tokenizer, self.max_length)
        pad_id = self.tokenizer_spec.pad_id
        if self.tokenizer_spec.padding_side == "left" and self.config.counts_padding(pad_id):
            # A text's embedding would depend on its neighbours in the batch, in the reference as here.
            supported = f"right, as the positions of model_type {spec.model_type} count padding of id {pad_id}"
            raise UnsupportedError("tokenizer_config.json", "padding_side", "left", supported)
        self._check_padding(spec.encoder_config.file)
        pairs = spec.task in ("sequence-classification", "text-generation")
        template = self.tokenizer_spec.pair if pairs else self.tokenizer_spec.single
        self.tokenizer_spec, dimensions["input_ids"] = self._check_ids(self.tokenizer_spec, template, spec)
        self.hf_tokenizer = hf_tokenizer
        self.tokenizer = TokenizerGraph(self.tokenizer_spec, hf_tokenizer.backend_tokenizer, options.tokenizer_ops)
        self._output = spec.output
        dimensions[spec.output] = self.head.width
        if self._collects:
            dimensions["all_layer_embeddings"] = len(self.encoder.layers) + 1
        elif configs.all_layers:
            dimensions["all_layer_embeddings"] = NOT_COLLECTED
        self.micro_batch_tokens = options.micro_batch_tokens
        most = max(1, _LARGEST_LOGITS // self.head.width)
        self.most_rows = most if spec.task == "text-generation" else None
        if spec.task == "fill-mask":
            self.micro_batch_tokens = min(self.micro_batch_tokens, most)

    def _check_padding(self, file: str) -> None:
        """Refuses padding that the head would take for a token."""
        spec = self.tokenizer_spec
        if self.head.takes_first and spec.padding_side == "left":
            raise UnsupportedError("tokenizer_config.json", "padding_side", "left", "right, as the first token is classified")
        pad_id = getattr(self.head, "pad_id", spec.pad_id)
        if pad_id != spec.pad_id and spec.padding_side == "right":
            supported = f"{spec.pad_id}, the tokenizer's: the last token that is no padding is classified"
            raise UnsupportedError(file, "pad_token_id", pad_id, supported)

    def _max_length(self, module: ModuleSpec, asked: int | None, model_max_length: int) -> int | None:
        """sentence-transformers' precedence, at most what the encoder has positions for.

        The reference fails for texts beyond them, whatever limit a folder gives. Refused are lengths that the user asks for, and
        those at which the reference does not fail and is not reproduced.
        """
        spec, positions = module.transformer, self.config.max_position_embeddings
        assert spec is not None
        if asked is not None:
            file, key, length = "arguments", "--max-seq-length", asked
        elif spec.text_max_length is not None:
            file, key, length = module.config.file, "processing_kwargs.text.max_length", spec.text_max_length
        elif spec.max_seq_length is not None:
            file, key, length = module.config.file, "max_seq_length", spec.max_seq_length
        else:
            at = f"{spec.folder}/" if spec.folder else ""
            file, key, length = f"{at}tokenizer_config.json", "model_max_length", int(model_max_length)
            if positions is not None and positions < length:
                length = positions
        limit = length_limit(file, key, length)
        most = self.config.max_length
        if most is not None and (limit is None or limit > most):
            if asked is None and self.config.fails_beyond:
                self.cut_at = most
                return most
            said = int(model_max_length) if key == "model_max_length" else length
            value = None if said > UNLIMITED else said
            raise UnsupportedError(file, key, value, f"at most {most}, the positions of the encoder; see --max-seq-length")
        return limit

    def _check_ids(self, tokenizer: TokenizerSpec, template: Template, spec: TransformerSpec) -> tuple[TokenizerSpec, int]:
        """The tokenizer with the ids that the encoder has no rows for, and one more than the highest that it has one for.

        Refuses ids and segments that every text needs and that have no row.
        """
        file, rows = spec.encoder_config.file, self.config.vocab_size
        always = (tokenizer.pad_id, *template.special_ids)
        tokenizer = with_rows(tokenizer, rows, file, "vocab_size", always)
        ids = {*tokenizer.model.vocab.values(), *always, *(token.id for token in tokenizer.added_tokens)}
        types = {tokenizer.pad_type_id, *(piece.type_id for piece in template.pieces)}
        if self.config.type_vocab_size and tokenizer.has_token_type_ids and max(types) >= self.config.type_vocab_size:
            types_known = self.config.type_vocab_size
            raise UnsupportedError(file, "type_vocab_size", types_known, f"more than the segment {max(types)}")
        if tokenizer.max_length is not None and tokenizer.max_length < template.added:
            supported = f"at least the {template.added} special tokens"
            raise UnsupportedError("sentence_bert_config.json", "max_seq_length", tokenizer.max_length, supported)
        return tokenizer, 1 + max(ids - tokenizer.ids_without_rows)

    def __call__(self, features: Features) -> Features:
        """int32 [batch, length] ids, mask and segments → `token_embeddings` [batch, length, hidden], or the head's output."""
        return self._computed(features, long=False)

    def of_long_texts(self, features: Features) -> Features:
        """The same, with attention in blocks."""
        return self._computed(features, long=True)

    def _computed(self, features: Features, long: bool) -> Features:
        types = features["token_type_ids"]
        if not self.tokenizer_spec.has_token_type_ids:
            types = tf.zeros_like(types)
        mask = features["attention_mask"]
        if self._collects:
            inputs: list[tf.Tensor] = []
            tokens = self.encoder(features["input_ids"], mask, types, inputs, long=long)
            layers = tf.stack([*(tf.reshape(x, tf.shape(tokens)) for x in inputs), tokens])
            features = {**features, "all_layer_embeddings": layers}
        else:
            tokens = self.encoder(features["input_ids"], mask, types, long=long)
        return {**features, self._output: self.head(tokens, mask, features["input_ids"])}
