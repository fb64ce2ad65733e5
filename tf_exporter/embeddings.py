"""Strings → embeddings, or scores of pairs: the export that all others are beside of."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from tf_exporter import reference as references
from tf_exporter.architectures.registry import ARCHITECTURES
from tf_exporter.costs import cost_of, room
from tf_exporter.encoders.placement import place_variables
from tf_exporter.graph import Exported, TextModel
from tf_exporter.limits import limits
from tf_exporter.manifest import manifest, model_card, verification_lines
from tf_exporter.options import Options
from tf_exporter.publish import writing
from tf_exporter.published import note
from tf_exporter.saved_model import graph_ops, signature_tensors
from tf_exporter.source import ModelSource
from tf_exporter.spec import ModelSpec, read_model
from tf_exporter.verify import verify as verify_graph
from tf_exporter.views import view

logger = logging.getLogger("tf_exporter")

_LARGE = 2**28
"""Bytes of weights from which on memory counts for more than time. On few cores, two processes at once save little of it."""


class Export(NamedTuple):
    """What is told of a SavedModel that has been written."""

    manifest: dict[str, Any]
    card: str
    """The model card."""
    lines: list[str]
    """The outcome of the verification in plain words."""


def export(source: ModelSource, folder: Path, options: Options) -> Export:
    """Writes the SavedModel of a model of sentence-transformers to `folder`, and verifies it there.

    Raises:
        ConversionError: see `tf_exporter.errors`.
    """
    spec = read_model(source)
    not_checked = None if options.verify == "off" else _missing_reference(spec)
    if not_checked:
        logger.warning("only token ids will be verified, not %s", not_checked)
    no_reference = options.verify == "off" or not_checked
    with nullcontext() if no_reference else _reference(source, spec, options) as reference:
        logger.info("building the graph")
        text_model = TextModel(source, spec, options)
        logger.info("saving")
        exported = Exported(text_model)
        with writing(folder):
            tf.saved_model.save(exported, str(folder), signatures=exported.signature_functions())
            place_variables(folder, text_model.on_cpu)
        description = text_model.describe()
        # What is saved is loaded again; the weights are not needed twice.
        del text_model, exported
        gc.collect()
        report, allowed = None, limits(options.precision, options.atol)
        if options.verify != "off":
            logger.info("verifying (%s)", options.verify)
            notes = [note(transformer.model_type) for transformer in spec.transformers if transformer.native_config]
            report = verify_graph(
                folder,
                description,
                reference,
                level=options.verify,
                limits=allowed,
                quiet=options.quiet,
                cost=cost_of(spec.transformers, options.verify),
                memory=room(source.weight_bytes()),
                not_checked=not_checked,
                note="; ".join(notes) or None,
                max_seq_length=options.most_tokens or description.cut_at,
            )
    values = manifest(source, spec, description, report, graph_ops(folder), signature_tensors(folder), options)
    lines = verification_lines(report, allowed)
    if description.cut_at:
        lines.append(f"Texts are cut at {description.cut_at} tokens: sentence-transformers fails for longer ones.")
    return Export(values, model_card(values, lines), lines)


def _missing_reference(spec: ModelSpec) -> str | None:
    """In plain words, why embeddings cannot be verified; None where they can."""
    if not all(ARCHITECTURES[transformer.model_type].verified for transformer in spec.transformers):
        return "embeddings: transformers has no class of its own for this model, and code of a model is never run"
    missing = references.missing_packages()
    return f"embeddings: {references.not_installed(missing)}" if missing else None


@contextmanager
def _reference(source: ModelSource, spec: ModelSpec, options: Options) -> Iterator[references.Reference]:
    """The running reference, which gets configs in transformers' own terms, and none that choose code, packages or files."""
    with view(source, {transformer.folder: transformer.native_config for transformer in spec.transformers}) as folder:
        # Of large models, one at a time is in memory: ours, the reference's, and then what was saved.
        waits = source.weight_bytes() > _LARGE
        reference = references.Reference(folder, spec.kind, options.truncate_dim, waits)
        with closing(reference) as running:
            yield running
