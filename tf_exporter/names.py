"""Names that users see: kinds of models, export types, signatures, and their tensors."""

from __future__ import annotations

import re

SENTENCE_TRANSFORMER, SPARSE_ENCODER, CROSS_ENCODER, MULTI_VECTOR = KINDS = (
    "SentenceTransformer",
    "SparseEncoder",
    "CrossEncoder",
    "MultiVectorEncoder",
)
"""Kinds of models, with the names of sentence-transformers."""
QUERY, DOCUMENT = "query", "document"
"""The tasks of texts in sentence-transformers; also the inputs of the signature `score`."""

EMBEDDING, PREPROCESSING, ENCODER, ENCODER_WITH_MLM, CLASSIFIER = EXPORT_TYPES = (
    "sentence-embedding",
    "preprocessing",
    "encoder",
    "encoder-with-mlm",
    "classifier",
)
"""Choices of `--export-type`."""

DEFAULT = "serving_default"
"""The signature for requests that name no signature."""

INPUT, PAIR, OUTPUT, SCORES = "input_sequence", "pair_sequence", "sentence_embedding", "scores"
"""Tensors of a sentence embedding or a cross-encoder."""
INDICES, WEIGHTS = "indices", "weights"
"""Tensors of the sparse signatures."""
VECTORS, VECTOR_MASK, VECTOR_IDS = "token_embeddings", "mask", "input_ids"
"""Tensors of a multi-vector model."""
TOKENIZE = "tokenize"
"""The signature that gives the token ids of `serving_default`, without its prompt."""
TOKENS, IDS, TRUNCATED, BINARY, INT8, TOKENIZE_WITH_OFFSETS = EXTRAS = (
    "encode_tokens",
    "encode_ids",
    "encode_truncated",
    "encode_binary",
    "encode_int8",
    "tokenize_with_offsets",
)
"""Signatures that only `--signatures` exports; all but the last are of a sentence embedding."""
INT8_PRECISION, INT8_STORAGE = INT8_PRECISIONS = ("int8", "int8-storage")
"""Precisions with matrices in int8: products in int8, or in float32."""
SPARSE, MULTI_VECTORS, ALL = HYBRID = ("encode_sparse", "encode_multi_vector", "encode_all")
"""Signatures of a sentence embedding with bge-m3's heads."""
ATTENTION, SPECIAL, OFFSETS = "attention_mask", "special_tokens_mask", "offset_mapping"
"""Outputs of the signatures that give token ids, with the names of transformers."""
DIMENSIONS, BINARY_EMBEDDING, INT8_EMBEDDING = "dimensions", "binary_embedding", "int8_embedding"
"""An input and outputs of these signatures."""
SCORE = "score"
"""The signature of a multi-vector model that scores documents for a query."""

CLASSIFY = ("classify", "classify_pair")
"""Signatures of a classifier: for one text, and for two."""
FIRST, SECOND = "sentence1", "sentence2"
"""Inputs of a classifier."""
LOGITS, CLASS_ID, CLASS, PROBABILITIES = "logits", "class_id", "class", "probabilities"
"""Outputs of a classifier."""

SENTENCES = "sentences"
"""The input of a preprocessing model."""
WORD_IDS, MASK, TYPE_IDS = ENCODER_INPUTS = ("input_word_ids", "input_mask", "input_type_ids")
"""Outputs of a preprocessing model and inputs of an encoder."""
POSITIONS = "masked_lm_positions"
"""A further input of an encoder with a masked language model."""
POOLED, DEFAULT_OUTPUT, SEQUENCE, LAYERS, MLM_LOGITS = (
    "pooled_output",
    "default",
    "sequence_output",
    "encoder_outputs",
    "mlm_logits",
)
"""Outputs of an encoder."""


def simple_name(text: str) -> str:
    """`text` with characters replaced that signatures, servers or URLs do not accept."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)
