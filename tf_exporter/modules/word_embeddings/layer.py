"""WordEmbeddings: a row of a table for each word, as in sentence-transformers 6.2."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tensorflow as tf

from tf_exporter.errors import UnsupportedError
from tf_exporter.layers.basic import MatrixLayer, variable
from tf_exporter.model.source import ModelSource
from tf_exporter.model.weights import open_weights
from tf_exporter.modules.base import MIN_MICRO_BATCH_TOKENS, TextModule
from tf_exporter.modules.dimensions import Dimensions
from tf_exporter.modules.features import Features
from tf_exporter.modules.word_embeddings.config import WHITE_SPACE, WordEmbeddingsConfig
from tf_exporter.options import Options
from tf_exporter.tokenizers.loading import load_tokenizer
from tf_exporter.tokenizers.pipeline import TokenizerGraph
from tf_exporter.tokenizers.spec import TokenizerSpec, read_tokenizer
from tf_exporter.tokenizers.whitespace import (
    CutTokenizer,
    ListTokenizer,
    WordTokenizer,
    read_words,
    word_ids,
    words_spec,
)


class WordEmbeddings(TextModule, MatrixLayer):
    """Texts → ids of words → `token_embeddings`."""

    counts_prompt = False
    """In the reference, a pooling after this module always includes the prompt."""
    tokenizer: Any

    def __init__(
        self,
        source: ModelSource,
        folder: str,
        config: WordEmbeddingsConfig,
        options: Options,
        dimensions: Dimensions,
    ):
        super().__init__()
        max_length = config.max_length if options.max_seq_length is None else options.max_seq_length
        if config.tokenizer == WHITE_SPACE:
            self._white_space(source, folder, options, max_length)
        else:
            self._wrapped(source, folder, options, max_length)
        weights = open_weights(source, folder)
        table = weights.take_matrix("emb_layer.weight")
        weights.finish()
        if self._ids > len(table):
            raise UnsupportedError(
                weights.file,
                "rows of emb_layer.weight",
                len(table),
                f"at least {self._ids}, one for each token id",
            )
        self.weight = variable(table, "emb_layer")
        self.micro_batch_tokens = max(options.micro_batch_tokens, MIN_MICRO_BATCH_TOKENS)
        dimensions.update({"token_embeddings": table.shape[1], "input_ids": self._ids})

    def _white_space(
        self, source: ModelSource, folder: str, options: Options, max_length: int | None
    ) -> None:
        check_ops(options)
        words = read_words(source, folder)
        self.tokenizer_spec: TokenizerSpec = words_spec(words, max_length)
        self.tokenizer = WordTokenizer(self.tokenizer_spec, words)
        self.hf_tokenizer = ListTokenizer(word_ids(words), max_length)
        self._ids = 1 + max([0, *words.vocab.values()])

    def _wrapped(
        self, source: ModelSource, folder: str, options: Options, max_length: int | None
    ) -> None:
        """Builds a transformers tokenizer, with truncation and padding as for lists of words."""
        tokenizer = load_tokenizer(source, folder)
        read = replace(read_tokenizer(tokenizer, None), padding_side="right", pad_id=0)
        graph = TokenizerGraph(read, tokenizer.backend_tokenizer, options.tokenizer_ops)
        self.tokenizer = CutTokenizer(graph, read, max_length)
        self.tokenizer_spec = replace(read, max_length=max_length)
        self.hf_tokenizer = ListTokenizer(
            lambda text: list(tokenizer(text)["input_ids"]), max_length
        )
        added = [token.id for token in read.added_tokens]
        self._ids = 1 + max([0, *read.model.vocab.values(), *added, *read.single.special_ids])

    def __call__(self, features: Features) -> Features:
        """int32 [batch, length] ids → float32 [batch, length, dim], and lengths int32 [batch]."""
        lengths = tf.reduce_sum(features["attention_mask"], axis=1)
        return {
            **features,
            "token_embeddings": self.rows(features["input_ids"]),
            "sentence_lengths": lengths,
        }


def check_ops(options: Options) -> None:
    """Refuses tensorflow-text, which has no op for white space tokenizers."""
    if options.tokenizer_ops != "core":
        supported = "core for a WhitespaceTokenizer: tensorflow-text has no op for it"
        raise UnsupportedError("arguments", "--tokenizer-ops", options.tokenizer_ops, supported)
