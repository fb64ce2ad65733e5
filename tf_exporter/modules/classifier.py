"""A transformers model that classifies texts: its labels and its problem type."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.source import ModelSource
from tf_exporter.modules.model_spec import ModelSpec
from tf_exporter.modules.spec import read_model
from tf_exporter.modules.transformer.config import TransformerSpec
from tf_exporter.names import CROSS_ENCODER

SINGLE_LABEL, MULTI_LABEL = PROBLEMS = ("single_label_classification", "multi_label_classification")
"""`problem_type` in config.json: one label for each text, or any number of labels."""


@dataclass(frozen=True)
class ClassifierSpec:
    """A …ForSequenceClassification model."""

    model: ModelSpec
    transformer: TransformerSpec
    labels: tuple[str, ...]
    problem: str
    """One of `PROBLEMS`."""


def read_classifier(source: ModelSource) -> ClassifierSpec:
    """The spec of a model folder.

    Raises:
        UnsupportedError: the model does not classify, or has only one label.
    """
    spec = read_model(source)
    transformer = spec.transformers[0] if spec.transformers else None
    if (
        transformer is None
        or spec.kind != CROSS_ENCODER
        or transformer.task != "sequence-classification"
    ):
        values = source.read_object("config.json") if source.exists("config.json") else {}
        raise UnsupportedError(
            "config.json",
            "architectures",
            values.get("architectures"),
            "a …ForSequenceClassification model",
        )
    # transformers itself does not put texts into a chat template.
    plain = replace(transformer, chat=None)
    first, *rest = spec.pipelines[""]
    spec = replace(spec, pipelines={"": (replace(first, transformer=plain), *rest)})
    file = transformer.encoder_config
    problem = file.take("problem_type", (str, type(None))) or SINGLE_LABEL
    if problem not in PROBLEMS:
        raise file.unsupported("problem_type", PROBLEMS)
    if len(spec.labels) < 2:
        supported = (
            "two labels or more; for the score of one label, use --export-type sentence-embedding"
        )
        raise UnsupportedError(file.file, "id2label", list(spec.labels), supported)
    return ClassifierSpec(spec, plain, spec.labels, problem)
