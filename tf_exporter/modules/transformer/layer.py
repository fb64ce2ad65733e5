"""Transformer: a tokenizer, an encoder and, if the task needs one, a head."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import tensorflow as tf

from tf_exporter.architectures.registry import ARCHITECTURES
from tf_exporter.errors import UnsupportedError, UsageError
from tf_exporter.heads.registry import build_head
from tf_exporter.layers.long_texts import LONG
from tf_exporter.model.source import ModelSource
from tf_exporter.modules.base import TextModule
from tf_exporter.modules.dimensions import NOT_COLLECTED, Dimensions
from tf_exporter.modules.features import Features
from tf_exporter.modules.transformer.chat import Chat, chat_settings
from tf_exporter.modules.transformer.checkpoint import checkpoint
from tf_exporter.modules.transformer.config import TransformerSpec
from tf_exporter.modules.transformer.late import Expansion, expansion_id, register_prefixes
from tf_exporter.names import QUERY
from tf_exporter.options import Options
from tf_exporter.tokenizers.chat.frame import Frame
from tf_exporter.tokenizers.chat.settings import Use
from tf_exporter.tokenizers.contract import ReferenceTokenizer
from tf_exporter.tokenizers.loading import UNLIMITED, length_limit, load_tokenizer
from tf_exporter.tokenizers.missing_rows import with_rows
from tf_exporter.tokenizers.pipeline import TokenizerGraph
from tf_exporter.tokenizers.post_processors import Encodings
from tf_exporter.tokenizers.spec import TokenizerSpec, read_tokenizer
from tf_exporter.tokenizers.templates import BARE, Template

_MAX_LOGITS = 2**23
"""The most logits over a whole vocabulary in a micro-batch."""


class Transformer(TextModule):
    """Texts → token ids → token embeddings, or the output of a head."""

    def __init__(
        self,
        source: ModelSource,
        file: str,
        spec: TransformerSpec,
        options: Options,
        dimensions: Dimensions,
    ):
        super().__init__()
        configs, architecture = spec.read(), ARCHITECTURES[spec.model_type]
        self.config = configs.encoder
        self._gives_all_layers = configs.all_layers and spec.task == "feature-extraction"
        self.pads_leak = architecture.pads_leak
        with checkpoint(source, spec, options.quiet) as weights:
            self.encoder = architecture.build(configs.encoder, weights)
            self.head = build_head(configs.head, weights, self.encoder)
        hf_tokenizer = load_tokenizer(
            source, spec.folder, spec.do_lower_case, spec.tokenizer_kwargs
        )
        register_prefixes(spec.prefixes, hf_tokenizer)
        if spec.task == "text-generation":
            # The head reads the last token, which must be at the end of every row.
            hf_tokenizer.padding_side = "left"
        self.truncated_to: int | None = None
        own = self._max_length(file, spec, options.max_seq_length, hf_tokenizer.model_max_length)
        if (
            options.max_seq_length is None
            and options.sequence_length
            and own
            and own < options.sequence_length
        ):
            raise UsageError(
                f"--sequence-length {options.sequence_length}: "
                f"more than the {own} tokens that the model takes"
            )
        self.max_length = (
            own
            if options.sequence_length is None
            else min(own or UNLIMITED, options.sequence_length)
        )
        self.takes_long = self.max_length is None or self.max_length > LONG
        chat = chat_settings(spec, hf_tokenizer)
        self.counts_prompt = chat is None
        # Rendered prompts have all their special tokens.
        self.tokenizer_spec = read_tokenizer(hf_tokenizer, self.max_length, BARE if chat else None)
        if self.tokenizer_spec.padding_side == "left" and self.config.leaks_beyond is not None:
            length = self.max_length or UNLIMITED
            self.pads_leak = self.pads_leak or length > self.config.leaks_beyond
        pad_id = self.tokenizer_spec.pad_id
        if self.tokenizer_spec.padding_side == "left" and self.config.counts_padding(pad_id):
            # As in the reference, an embedding would depend on the other texts in the batch.
            supported = f"right, as positions in {spec.model_type} count padding with id {pad_id}"
            raise UnsupportedError(_tokenizer_config(spec), "padding_side", "left", supported)
        self._check_padding(spec)
        pairs = spec.task in ("sequence-classification", "text-generation")
        template = self.tokenizer_spec.pair if pairs else self.tokenizer_spec.single
        self.tokenizer_spec, dimensions["input_ids"] = self._check_ids(
            self.tokenizer_spec, template, spec
        )
        self.hf_tokenizer: ReferenceTokenizer = hf_tokenizer
        self.tokenizer: TokenizerGraph = TokenizerGraph(
            self.tokenizer_spec, hf_tokenizer.backend_tokenizer, options.tokenizer_ops
        )
        self._backend = hf_tokenizer.backend_tokenizer
        self._has_stock_ops = options.tokenizer_ops == "core"
        self.aligned = None if chat else partial(self.aligned_for, self.tokenizer_spec)
        self._late = self._read_late(file, spec, template.added)
        self._chat = Chat(spec.folder, chat, hf_tokenizer, self.tokenizer_spec) if chat else None
        self._output, self.strips = spec.output, spec.strips
        dimensions[spec.output] = self.head.width
        if self._gives_all_layers:
            dimensions["all_layer_embeddings"] = len(self.encoder.layers) + 1
        elif configs.all_layers:
            dimensions["all_layer_embeddings"] = NOT_COLLECTED
        self.micro_batch_tokens = options.micro_batch_tokens
        max_positions = max(1, _MAX_LOGITS // self.head.width)
        self.max_rows = max_positions if spec.task == "text-generation" else None
        if spec.task == "fill-mask":
            self.micro_batch_tokens = min(self.micro_batch_tokens, max_positions)

    def aligned_for(self, spec: TokenizerSpec) -> TokenizerGraph:
        """A tokenizer with offsets, by this spec. It always has stock ops."""
        shared = self.tokenizer if self._has_stock_ops else None
        return TokenizerGraph(spec, self._backend, offsets=True, shared=shared)

    def late_texts(self, task: str) -> tuple[int | None, tuple[Expansion, int] | None]:
        """The limit of texts of a task, and the expansion of queries with the id of its token."""
        return self._late[task]

    def _read_late(
        self, file: str, spec: TransformerSpec, added: int
    ) -> dict[str, tuple[int | None, tuple[Expansion, int] | None]]:
        """Task → its limit and expansion; empty if the model is none with several vectors.

        `added`: the number of special tokens around a text.
        """
        lengths = spec.lengths
        if lengths is None:
            return {}
        found: dict[str, tuple[int | None, tuple[Expansion, int] | None]] = {}
        for task, (key, limit) in lengths.limits(spec.text_max_length, self.max_length).items():
            most = self.config.max_length
            if limit is not None and most is not None and limit > most:
                supported = f"at most {most}, the positions of the encoder"
                raise UnsupportedError(file, key, limit, supported)
            if limit is not None and limit < added:
                supported = f"at least {added}, the number of special tokens"
                raise UnsupportedError(file, key, limit, supported)
            found[task] = limit, None
        if expansion := lengths.expansion:
            if self.tokenizer_spec.padding_side == "left":
                supported = "right, as queries are filled up"
                raise UnsupportedError(_tokenizer_config(spec), "padding_side", "left", supported)
            reach = self.config.reach
            if not expansion.attend and reach is not None and expansion.length - added > reach:
                # In the reference, a place that sees no token depends on torch's kernel.
                supported = f"at most {reach + added}, so that every place sees a token of the text"
                raise UnsupportedError(file, "query_expansion.length", expansion.length, supported)
            id = expansion_id(file, expansion, self.hf_tokenizer)
            found[QUERY] = found[QUERY][0], (expansion, id)
        return found

    def prepare(self, uses: Sequence[Use], pairs: bool) -> None:
        if self._chat is not None:
            self._chat.prepare(uses, pairs, self.tokenizer)
            self.hf_tokenizer = self._chat.reference

    def encodings(self, use: Use, *texts: tf.Tensor) -> Encodings:
        return super().encodings(use, *texts) if self._chat is None else self._chat(use, *texts)

    def bare_encodings(self, *texts: tf.Tensor) -> Encodings:
        return super().bare_encodings(*texts) if self._chat is None else self._chat(Use(), *texts)

    def frames(self) -> dict[Use, Frame]:
        return {} if self._chat is None else self._chat.frames

    @property
    def tokens_around(self) -> int:
        return super().tokens_around if self._chat is None else self._chat.tokens_around

    def _check_padding(self, spec: TransformerSpec) -> None:
        """Refuses padding that the head would take for a token."""
        tokenizer, pad_id = self.tokenizer_spec, self.head.pad_id
        if self.head.takes_padding(tokenizer.pad_id, tokenizer.single.special_ids):
            supported = "the id of a token that ends every text, or of none that the encoder reads"
            raise UnsupportedError(
                _tokenizer_config(spec), "pad_token_id", tokenizer.pad_id, supported
            )
        if self.head.takes_first and tokenizer.padding_side == "left":
            supported = "right, as the first token is classified"
            raise UnsupportedError(_tokenizer_config(spec), "padding_side", "left", supported)
        if self.head.takes_last and tokenizer.padding_side == "right":
            supported = "left, as the last place of a row is classified"
            raise UnsupportedError(_tokenizer_config(spec), "padding_side", "right", supported)
        if pad_id is not None and pad_id != tokenizer.pad_id and tokenizer.padding_side == "right":
            supported = (
                f"{tokenizer.pad_id}, as in the tokenizer: the last token before padding is "
                "classified"
            )
            raise UnsupportedError(spec.encoder_config.file, "pad_token_id", pad_id, supported)

    def _max_length(
        self, config_file: str, spec: TransformerSpec, asked: int | None, model_max_length: int
    ) -> int | None:
        """The limit by sentence-transformers' precedence, at most the encoder's positions.

        The reference fails for longer texts, whatever limit a folder gives. A higher limit is
        refused if it is the user's, or if the reference does not fail and is not reproduced.
        """
        positions = self.config.max_position_embeddings
        if asked is not None:
            file, key, length = "arguments", "--max-seq-length", asked
        elif spec.text_max_length is not None:
            file, key, length = (
                config_file,
                spec.text_max_length_key,
                spec.text_max_length,
            )
        elif spec.max_seq_length is not None:
            file, key, length = config_file, "max_seq_length", spec.max_seq_length
        else:
            file, key, length = _tokenizer_config(spec), "model_max_length", int(model_max_length)
            if positions is not None and positions < length:
                length = positions
        self._limit_key = file, key
        limit = length_limit(file, key, length)
        most = self.config.max_length
        if most is not None and (limit is None or limit > most):
            if asked is None and self.config.fails_beyond:
                self.truncated_to = most
                return most
            given = int(model_max_length) if key == "model_max_length" else length
            value = None if given > UNLIMITED else given
            raise UnsupportedError(
                file,
                key,
                value,
                f"at most {most}, the positions of the encoder; see --max-seq-length",
            )
        return limit

    def _check_ids(
        self, tokenizer: TokenizerSpec, template: Template, spec: TransformerSpec
    ) -> tuple[TokenizerSpec, int]:
        """The tokenizer, with its ids that have no row; and the highest id that has one, plus 1.

        Ids and segments that every text needs are refused if they have no row.
        """
        file, rows = spec.encoder_config.file, self.config.vocab_size
        always = (tokenizer.pad_id, *template.special_ids)
        tokenizer = with_rows(tokenizer, rows, file, "vocab_size", always)
        ids = {
            *tokenizer.model.vocab.values(),
            *always,
            *(token.id for token in tokenizer.added_tokens),
        }
        types = {tokenizer.pad_type_id, *(piece.type_id for piece in template.pieces)}
        if (
            self.config.type_vocab_size
            and tokenizer.has_token_type_ids
            and max(types) >= self.config.type_vocab_size
        ):
            types_known = self.config.type_vocab_size
            raise UnsupportedError(
                file, "type_vocab_size", types_known, f"more than {max(types)}, the highest segment"
            )
        if tokenizer.max_length is not None and tokenizer.max_length < template.added:
            supported = f"at least {template.added}, the number of special tokens"
            raise UnsupportedError(*self._limit_key, tokenizer.max_length, supported)
        return tokenizer, 1 + max(ids - tokenizer.ids_without_rows)

    def __call__(self, features: Features) -> Features:
        """int32 [batch, length] ids, mask and segments → float32 [batch, length, hidden].

        If there is a head, the result is its output.
        """
        return self._computed(features, long=False)

    def for_long_texts(self, features: Features) -> Features:
        """The same result, with attention in blocks."""
        return self._computed(features, long=True)

    def _computed(self, features: Features, long: bool) -> Features:
        types = features["token_type_ids"]
        if not self.tokenizer_spec.has_token_type_ids:
            types = tf.zeros_like(types)
        mask = features["attention_mask"]
        states = self.encoder(features["input_ids"], mask, types, long=long)
        shape = [*tf.unstack(tf.shape(mask)), self.encoder.hidden_size]
        tokens = tf.reshape(states[-1], shape)
        if self._gives_all_layers:
            count = len(self.encoder.layers) + 1
            layers = tf.stack([tf.reshape(x, shape) for x in states[:count]])
            features = {**features, "all_layer_embeddings": layers}
        return {**features, self._output: self.head(tokens, mask, features["input_ids"])}


def _tokenizer_config(spec: TransformerSpec) -> str:
    """The tokenizer's config, relative to the model's folder."""
    return f"{spec.folder}/tokenizer_config.json" if spec.folder else "tokenizer_config.json"
