"""The recipe: source → spec → weights → tokenizer, encoder and modules → graph → verify → publish."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_exporter.errors import InputError, UnsupportedError, UsageError, one_line
from tf_exporter.limits import PRECISIONS, limits
from tf_exporter.publish import MANIFEST, Publication, write_text
from tf_exporter.source import ModelSource, open_model

if TYPE_CHECKING:
    from tf_exporter.reference import Reference
    from tf_exporter.spec import ModelSpec

logger = logging.getLogger("tf_exporter")

_LARGE = 2**30
"""Bytes of weights from which on memory counts for more than time."""
TOKENIZER_OPS = ("core", "tensorflow-text")
LEVELS = ("quick", "full", "off")


@dataclass(frozen=True)
class Conversion:
    """What a conversion made."""

    output_dir: Path
    """The folder that was published: OUTPUT_DIR itself, or what `--serving` puts into it."""
    saved_model: Path
    """The SavedModel's folder, which is in it or the same."""
    manifest: dict[str, Any]
    """As in `assets.extra/tf_exporter.json`."""
    verification: dict[str, Any]
    """The figures of the verification; `{"level": "off"}` where it was turned off."""
    summary: list[str]
    """The outcome of the verification in plain words."""


@contextmanager
def rust_panics() -> Iterator[None]:
    """A panic of `tokenizers`' native code, which is no `Exception` to Python, as an `InputError`."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise InputError(f"the tokenizer makes Hugging Face tokenizers panic ({one_line(error)})") from None


@rust_panics()
def convert(
    model: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | None = None,
    local_files_only: bool = False,
    max_seq_length: int | None = None,
    truncate_dim: int | None = None,
    prompt_name: str | None = None,
    tokenizer_ops: str = "core",
    precision: str = "float32",
    micro_batch_tokens: int = 512,
    serving: str | None = None,
    verify: str = "quick",
    atol: float = 1e-5,
    force: bool = False,
    quiet: bool = True,
) -> Conversion:
    """Converts a sentence-transformers model into one SavedModel that takes strings.

    Args:
        model: a local folder or the name of a model on the Hugging Face Hub.
        output_dir: the SavedModel's folder; its parents are made.
        revision: branch, tag or commit on the Hub.
        cache_dir: the Hub cache, by default the client's own.
        local_files_only: use what the cache holds, without the network.
        max_seq_length: cut texts at this many tokens, in place of the model's own limit.
        truncate_dim: keep this many leading dimensions, in place of the model's own choice.
        prompt_name: the prompt of `serving_default`, in place of the model's default.
        tokenizer_ops: "core" (stock TensorFlow ops) or "tensorflow-text" (its matching op: faster for large batches, but a
            server then needs the op library of tensorflow-text; WordPiece only).
        precision: "float32", "bfloat16" (matrix products in it: faster on some CPUs and GPUs, slower on others) or "float16"
            (weights stored in half the space, computed in float32).
        micro_batch_tokens: about how many tokens a slice of the batch has. What is best for CPUs is small, as a slice then stays
            in the cache, and some slices are computed side by side; a GPU wants more at a time, 16,384 or so.
        serving: what to make in `output_dir`: None (the SavedModel itself), "tf-serving" (the next version of a model:
            output_dir/N, with warm-up requests and batching parameters), "triton" (a model of a repository, for the Python
            backend) or "triton-tensorflow" (for the TensorFlow backend, which Triton had up to 25.02).
        verify: "quick" (seconds), "full" (minutes: every code point) or "off".
        atol: largest absolute difference to the reference's embeddings, in float32; a reduced precision has limits of its own,
            a cosine for embeddings and a difference for scores.
        force: replace an earlier conversion at `output_dir`.
        quiet: no progress bars.

    Raises:
        ConversionError: see `tf_exporter.errors`. Nothing is left at `output_dir` then.
    """
    _check_options(max_seq_length, truncate_dim, tokenizer_ops, precision, micro_batch_tokens, verify, atol)
    allowed = limits(precision, atol)
    from tf_exporter.serving import layout

    place = layout(serving, output_dir, os.fspath(model), tokenizer_ops, force)
    publication = Publication(place.output, force, place.saved_model)
    logger.info("reading %s", model)
    source = open_model(os.fspath(model), revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, quiet=quiet)
    with silenced_stderr():
        import tensorflow  # greets on standard error, whatever its log level
    hide_triton()
    from tf_exporter.graph import Exported, TextModel
    from tf_exporter.manifest import as_json, manifest, model_card, verification_lines
    from tf_exporter.modules.features import Options
    from tf_exporter.published import note
    from tf_exporter.saved_model import graph_ops, signature_tensors
    from tf_exporter.spec import read_model
    from tf_exporter.verify import verify as verify_graph

    spec = read_model(source)
    not_checked = None if verify == "off" else _missing_reference(spec)
    if not_checked:
        logger.warning("only token ids will be verified, not %s", not_checked)
    no_reference = verify == "off" or not_checked
    running = nullcontext() if no_reference else _reference(source, spec, max_seq_length, truncate_dim)
    with running as reference, publication:
        logger.info("building the graph")
        options = Options(max_seq_length, truncate_dim, prompt_name, micro_batch_tokens, quiet, tokenizer_ops, precision)
        text_model = TextModel(source, spec, options)
        logger.info("saving")
        folder = publication.partial / place.saved_model
        exported = Exported(text_model)
        with writing(publication.output):
            tensorflow.saved_model.save(exported, str(folder), signatures=exported.signature_functions())
        description = text_model.describe()
        # What is saved is loaded again; the weights are not needed twice.
        del text_model, exported
        gc.collect()
        report = None
        if verify != "off":
            logger.info("verifying (%s)", verify)
            notes = [note(transformer.model_type) for transformer in spec.transformers if transformer.native_config]
            report = verify_graph(
                folder,
                description,
                reference,
                level=verify,
                limits=allowed,
                quiet=quiet,
                not_checked=not_checked,
                note="; ".join(notes) or None,
            )
        lines = verification_lines(report, allowed)
        choices = {"tokenizer_ops": tokenizer_ops, "precision": precision}
        values = manifest(source, spec, description, report, graph_ops(folder), signature_tensors(folder), choices)
        with writing(publication.output):
            write_text(folder, MANIFEST, as_json(values))
            write_text(folder, "README.md", model_card(values, lines))
            place.write_files(publication.partial, values)
        publication.publish()
    return Conversion(publication.output, publication.output / place.saved_model, values, values["verification"], lines)


def _check_options(
    max_seq_length: int | None,
    truncate_dim: int | None,
    tokenizer_ops: str,
    precision: str,
    micro_batch_tokens: int,
    verify: str,
    atol: float,
) -> None:
    for name, number in (
        ("max-seq-length", max_seq_length),
        ("truncate-dim", truncate_dim),
        ("micro-batch-tokens", micro_batch_tokens),
    ):
        if number is not None and not 1 <= number < 2**31:
            raise UsageError(f"--{name} {number}: a positive number below 2³¹ is needed")
    if not atol > 0:
        raise UsageError(f"--atol {atol}: a positive number is needed")
    if verify not in LEVELS:
        raise UsageError(f"--verify {verify}: one of {', '.join(LEVELS)} is needed")
    if tokenizer_ops not in TOKENIZER_OPS:
        raise UnsupportedError("arguments", "--tokenizer-ops", tokenizer_ops, TOKENIZER_OPS)
    if precision not in PRECISIONS:
        raise UnsupportedError("arguments", "--precision", precision, PRECISIONS)


def _missing_reference(spec: ModelSpec) -> str | None:
    """In plain words, why embeddings cannot be verified; None where they can."""
    from tf_exporter import reference
    from tf_exporter.encoders import UNVERIFIED

    if any(transformer.model_type in UNVERIFIED for transformer in spec.transformers):
        return "embeddings: transformers has no class of its own for this model, and code of a model is never run"
    return "embeddings: sentence-transformers is not installed" if reference.missing_packages() else None


@contextmanager
def _reference(source: ModelSource, spec: ModelSpec, max_seq_length: int | None, truncate_dim: int | None) -> Iterator[Reference]:
    """The running reference."""
    from tf_exporter import reference
    from tf_exporter.published import native_view

    with ExitStack() as stack:
        folder = source.folder
        for transformer in spec.transformers:
            folder = stack.enter_context(native_view(folder, transformer.folder, transformer.native_config))
        # Of large models, one at a time is in memory: ours, the reference's, and then what was saved.
        waits = source.weight_bytes() > _LARGE
        yield stack.enter_context(closing(reference.Reference(folder, spec.kind, max_seq_length, truncate_dim, waits)))


@contextmanager
def writing(output: Path) -> Iterator[None]:
    """A disk that is full, or that cannot be written, as a `UsageError`."""
    import tensorflow as tf

    try:
        yield
    except OSError as error:
        raise UsageError(f"{output.parent}: cannot be written ({error.strerror or one_line(error)})") from error
    except tf.errors.OpError as error:
        raise UsageError(f"{output.parent}: cannot be written ({one_line(error)})") from error


def hide_triton() -> None:
    """Makes `import triton` fail from now on, unless it is loaded already.

    transformers may import torch, and torch triton, whose copy of LLVM ends a process that has TensorFlow's.
    """
    sys.modules.setdefault("triton", None)  # type: ignore[arg-type]  # None is how Python marks what cannot be imported


@contextmanager
def silenced_stderr() -> Iterator[None]:
    """Drops what native code writes to standard error; Python's exceptions still come through."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
