"""The exports by `--export-type`."""

from __future__ import annotations

from collections.abc import Callable

from tf_exporter.exports.classifier import ClassifierExport
from tf_exporter.exports.embeddings import EmbeddingExport
from tf_exporter.exports.encoder import EncoderExport
from tf_exporter.exports.export import Export
from tf_exporter.exports.preprocessing import PreprocessingExport
from tf_exporter.model.source import ModelSource
from tf_exporter.names import CLASSIFIER, EMBEDDING, ENCODER, ENCODER_WITH_MLM, PREPROCESSING
from tf_exporter.options import Options

EXPORTS: dict[str, Callable[[ModelSource, Options], Export]] = {
    EMBEDDING: EmbeddingExport,
    PREPROCESSING: PreprocessingExport,
    ENCODER: EncoderExport,
    ENCODER_WITH_MLM: EncoderExport,
    CLASSIFIER: ClassifierExport,
}
"""Each export reads the configs of a model, and refuses what it does not reproduce."""
