"""What a model's configs alone tell: all reasons for which it is refused, before TensorFlow is imported."""

from __future__ import annotations

from dataclasses import replace

from tf_exporter.errors import Refusals
from tf_exporter.model.modules.reading import check_modules
from tf_exporter.options import ENCODER, ENCODER_WITH_MLM, PREPROCESSING, Options
from tf_exporter.source import ModelSource
from tf_exporter.spec import ModuleSpec, read_encoder, read_model


def check_supported(source: ModelSource, options: Options) -> None:
    """Reads all configs of a model.

    Raises:
        InputError: a file is missing or is not what it claims to be.
        UnsupportedError: all reasons for which the model is refused.
    """
    if options.export_type in (ENCODER, ENCODER_WITH_MLM, PREPROCESSING):
        encoder = read_encoder(source)
        if options.export_type != PREPROCESSING:
            task = "fill-mask" if options.export_type == ENCODER_WITH_MLM else "feature-extraction"
            replace(encoder, task=task).read()
        return
    refusals = Refusals()
    for modules in read_model(source).pipelines.values():
        with refusals.part():
            check_modules(modules, _widths(modules[0], refusals))
    refusals.check()


def _widths(first: ModuleSpec, refusals: Refusals) -> dict[str, int | None]:
    """The features that a Transformer at the start makes; of unknown width where its config is refused."""
    spec = first.transformer
    if spec is None:
        return {}
    widths: dict[str, int | None] = {"input_ids": None, spec.output: None}
    with refusals.part():
        configs = spec.read()
        if spec.output == "token_embeddings" and spec.task == "feature-extraction":
            widths[spec.output] = configs.encoder.hidden_size
    return widths
