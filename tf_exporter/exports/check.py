"""The check of a model's configs: all reasons to refuse it, before TensorFlow is imported."""

from __future__ import annotations

from dataclasses import replace

from tf_exporter.architectures.head_configs import TextFeaturesConfig
from tf_exporter.errors import Refusals
from tf_exporter.model.source import ModelSource
from tf_exporter.modules.classifier import read_classifier
from tf_exporter.modules.module_spec import ModuleSpec
from tf_exporter.modules.reading import check_modules
from tf_exporter.modules.spec import read_encoder, read_model
from tf_exporter.modules.trainable import read_dropout
from tf_exporter.names import CLASSIFIER, ENCODER, ENCODER_WITH_MLM, PREPROCESSING
from tf_exporter.options import Options


def check_supported(source: ModelSource, options: Options) -> None:
    """Reads all configs of a model.

    Raises:
        InputError: a file is missing or is not what it claims to be.
        UnsupportedError: the reasons to refuse the model, those of all modules together.
    """
    refusals = Refusals()
    if options.export_type in (ENCODER, ENCODER_WITH_MLM, PREPROCESSING):
        encoder = read_encoder(source)
        if options.export_type != PREPROCESSING:
            task = "fill-mask" if options.export_type == ENCODER_WITH_MLM else "feature-extraction"
            with refusals.part():
                read_dropout(encoder)
            with refusals.part():
                replace(encoder, task=task).read()
            refusals.check()
        return
    model = (
        read_classifier(source).model if options.export_type == CLASSIFIER else read_model(source)
    )
    for modules in model.pipelines.values():
        with refusals.part():
            check_modules(modules, _widths(modules[0], refusals))
    refusals.check()


def _widths(first: ModuleSpec, refusals: Refusals) -> dict[str, int | None]:
    """Feature → width, for a Transformer as the first module; unknown widths are None."""
    spec = first.transformer
    if spec is None:
        return {}
    widths: dict[str, int | None] = {"input_ids": None, spec.output: None}
    with refusals.part():
        configs = spec.read()
        if spec.output == "token_embeddings" and spec.task == "feature-extraction":
            widths[spec.output] = configs.encoder.hidden_size
        if isinstance(configs.head, TextFeaturesConfig):
            widths[spec.output] = configs.head.width
    return widths
