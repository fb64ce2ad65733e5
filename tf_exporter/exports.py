"""What can be made of a model, by `--export-type`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tf_exporter import embeddings
from tf_exporter.embeddings import Export
from tf_exporter.hub.export import export_classifier, export_encoder, export_preprocessing
from tf_exporter.options import CLASSIFIER, EMBEDDING, ENCODER, ENCODER_WITH_MLM, PREPROCESSING, Options
from tf_exporter.source import ModelSource

EXPORTS: dict[str, Callable[[ModelSource, Path, Options], Export]] = {
    EMBEDDING: embeddings.export,
    PREPROCESSING: export_preprocessing,
    ENCODER: export_encoder,
    ENCODER_WITH_MLM: export_encoder,
    CLASSIFIER: export_classifier,
}
"""(source, folder, options) → what was written to the folder and verified there."""
