"""The pipeline that all exports share: build, save, check, manifest and model card."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from tf_exporter.architectures.registry import ARCHITECTURES
from tf_exporter.architectures.translation import note
from tf_exporter.artifact.card import card, verification_lines
from tf_exporter.artifact.manifest import manifest
from tf_exporter.artifact.publish import writing
from tf_exporter.exports.export import Export
from tf_exporter.exports.registry import EXPORTS
from tf_exporter.graph.placement import place_variables
from tf_exporter.model.reference.packages import missing_packages, not_installed
from tf_exporter.model.reference.scratch import scratch_folder
from tf_exporter.model.reference.view import view
from tf_exporter.model.source import ModelSource
from tf_exporter.modules.task_view import put_tasks
from tf_exporter.options import Options
from tf_exporter.verification.reference import Reference

logger = logging.getLogger("tf_exporter")

_LARGE = 2**28
"""Bytes of weights above which the check starts after the reference has ended.

This saves memory, and on few cores it costs little time.
"""


class Artifact(NamedTuple):
    """The descriptions of a SavedModel that was written and checked."""

    manifest: dict[str, Any]
    card: str
    lines: list[str]
    """The result of the verification in plain words."""


def run(source: ModelSource, folder: Path, options: Options, output: Path) -> Artifact:
    """Writes the SavedModel of a model to `folder`, and checks it there.

    Args:
        source: the model.
        folder: a folder that is moved when it is complete.
        options: the options of the conversion.
        output: the folder that errors name where `folder` cannot be written.

    Raises:
        ConversionError: see `tf_exporter.errors`.
    """
    export = EXPORTS[options.export_type](source, options)
    not_checked = None if options.verify == "off" else _not_checked(export)
    if not_checked:
        logger.warning("not verified: %s", not_checked)
    needs_reference = options.verify != "off" and not not_checked and export.package is not None
    with _reference(source, export) if needs_reference else nullcontext() as reference:
        _save(export, folder, output)
        report = None
        if options.verify != "off":
            logger.info("verifying (%s)", options.verify)
            notes = dict.fromkeys(
                note(transformer.model_type)
                for transformer in export.transformers
                if transformer.translated
            )
            report = export.check(folder, reference)
            report = replace(
                report,
                not_checked=not_checked,
                note="; ".join(notes) or None if reference else None,
            )
    values = manifest(source, options, export.facts(), report, folder)
    lines = [*verification_lines(report, export.wording), *export.remarks()]
    return Artifact(values, card(values, export.card(values), lines), lines)


def _save(export: Export, folder: Path, output: Path) -> None:
    """Builds and saves the graph, then frees it: the check loads the saved one."""
    with scratch_folder() as place:
        logger.info("building the graph")
        built = export.build(place)
        logger.info("saving")
        with writing(output):
            tf.saved_model.save(built.root, str(folder), signatures=built.signatures)
            place_variables(folder, built.on_cpu)
    del built
    gc.collect()


def _not_checked(export: Export) -> str | None:
    """The reason why outputs cannot be verified, in plain words; None where they can."""
    if export.package is None:
        return None
    if not all(
        ARCHITECTURES[transformer.model_type].verified for transformer in export.transformers
    ):
        return (
            f"{export.wording.checked}: transformers has no class of its own for this model, and "
            "code of a model is never run"
        )
    adapters = any(transformer.adapter or transformer.tasks for transformer in export.transformers)
    missing = missing_packages(export.package, adapters)
    return f"{export.wording.checked}: {not_installed(missing)}" if missing else None


@contextmanager
def _reference(source: ModelSource, export: Export) -> Iterator[Reference]:
    """The running reference; its configs are translated, and choose no code, packages or files."""
    assert export.package is not None
    with view(source) as folder:
        # Only one copy of a large model is in memory at a time.
        waits = source.weight_bytes() > _LARGE
        renamed: dict[str, str] = {}
        for transformer in export.transformers:
            put_tasks(source, transformer, folder)
            renamed.update(transformer.tasks.renamed if transformer.tasks else {})
        with closing(Reference(folder, export.package, waits, renamed)) as running:
            yield running
