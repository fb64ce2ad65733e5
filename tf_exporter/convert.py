"""The recipe: source → spec → weights → tokenizer, encoder and modules → graph → verify → publish.

The steps between source and publish depend on the export type (`exports/`).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_exporter.artifact.publish import MANIFEST, Publication, as_json, write_text, writing
from tf_exporter.errors import InputError, abbreviated, one_line, printable
from tf_exporter.model.source import open_model
from tf_exporter.options import LOWER_CASING, Options, Value

logger = logging.getLogger("tf_exporter")

_MOST_NAMED = 20
"""The most keys of a file that the line of output names; the manifest lists all."""


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion."""

    output_dir: Path
    """The published folder: OUTPUT_DIR itself, or the folder that `--serving` creates in it."""
    saved_model: Path
    """The SavedModel's folder, inside `output_dir` or the same."""
    manifest: dict[str, Any]
    """The contents of `assets.extra/tf_exporter.json`."""
    verification: dict[str, Any]
    """The figures of the verification; `{"level": "off"}` where it was turned off."""
    summary: list[str]
    """The result of the verification in plain words."""


@contextmanager
def failures_as_input_errors() -> Iterator[None]:
    """Turns failures of Python or native code on a model's files into an `InputError`.

    These are failures that no earlier check rules out. A panic in the native code of `tokenizers`
    is not an `Exception` to Python.
    """
    try:
        yield
    except MemoryError:
        raise InputError("the model needs more memory than there is") from None
    except RecursionError:
        raise InputError("a file of the model is nested too deeply") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise InputError(
            f"the tokenizer makes Hugging Face tokenizers panic ({one_line(error)})"
        ) from None


@failures_as_input_errors()
def convert(
    model: str | os.PathLike[str], output_dir: str | os.PathLike[str], **options: Value
) -> Conversion:
    """Converts a sentence-transformers model into one SavedModel that takes strings.

    Args:
        model: a local folder or the name of a model on the Hugging Face Hub.
        output_dir: the SavedModel's folder; its parents are made.
        options: the options of the command line, e.g. `max_seq_length` for `--max-seq-length`; see
            `tf_exporter.options.Options`. `quiet` is true by default: no progress bars.

    Raises:
        ConversionError: see `tf_exporter.errors`. Nothing is left at `output_dir` then.
        TypeError: an option is unknown.
    """
    return _convert(os.fspath(model), output_dir, Options(**{"quiet": True, **options}))


def _convert(model: str, output_dir: str | os.PathLike[str], options: Options) -> Conversion:
    options.check()
    from tf_exporter.artifact.serving.layouts import layout

    place = layout(options.serving, output_dir, model, options.tokenizer_ops, options.force)
    publication = Publication(place.output, options.force, place.saved_model)
    logger.info("reading %s", model)
    source = open_model(
        model,
        revision=options.revision,
        cache_dir=options.cache_dir,
        local_files_only=options.local_files_only,
        follow_links=options.follow_links,
        quiet=options.quiet,
    )
    from tf_exporter.exports.check import check_supported
    from tf_exporter.model.google import folder as googles

    is_google = googles.is_googles(source)
    if not is_google and options.export_type not in LOWER_CASING:
        googles.check_lower_case(options.do_lower_case)
    if not is_google:
        check_supported(source, options)
    with silenced_stderr():
        import tensorflow  # noqa: F401  # writes to standard error at any log level
    hide_triton()
    from tf_exporter.exports.run import run

    with publication:
        folder, output = publication.partial / place.saved_model, publication.output
        with ExitStack() as stand_ins:
            if is_google:
                with writing(output):
                    stand_ins.enter_context(
                        googles.translated(source, options.do_lower_case, publication.partial)
                    )
            artifact = run(source, folder, options, output)
        with writing(output):
            write_text(folder, MANIFEST, as_json(artifact.manifest))
            write_text(folder, "README.md", artifact.card)
            place.write_files(publication.partial, artifact.manifest)
        publication.publish()
    lines = [*artifact.lines, *ignored_lines(artifact.manifest["ignored"])]
    saved_model = output / place.saved_model
    return Conversion(
        output, saved_model, artifact.manifest, artifact.manifest["verification"], lines
    )


def ignored_lines(ignored: dict[str, list[str]]) -> list[str]:
    """One line that lists the keys the reference does not read, or none."""
    files = "; ".join(
        f"{printable(file)}: {_named(keys)}" for file, keys in ignored.items() if keys
    )
    return [f"Ignored, as the reference does not read them: {files}."] if files else []


def _named(keys: list[str]) -> str:
    """Keys for a line of output: long ones abbreviated, and only the first of many."""
    more = f" and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else ""
    return ", ".join(abbreviated(printable(key), 80) for key in keys[:_MOST_NAMED]) + more


def hide_triton() -> None:
    """Makes `import triton` fail from now on, unless it is already loaded.

    transformers may import torch, which imports triton. triton's copy of LLVM aborts a process
    that has TensorFlow's copy.
    """
    # None marks a module that cannot be imported.
    sys.modules.setdefault("triton", None)  # type: ignore[arg-type]


@contextmanager
def silenced_stderr() -> Iterator[None]:
    """Drops output of native code to standard error; Python's exceptions still get through."""
    try:
        kept = os.dup(2)
    except OSError:  # closed, e.g. in a service
        yield
        return
    with suppress(AttributeError, OSError):  # no stream, or no reader
        sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
