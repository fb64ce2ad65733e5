"""The recipe: source → spec → weights → tokenizer, encoder and modules → graph → verify → publish.

What is between source and publish is that of the export type, of which `embeddings.py` has the first.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_exporter.errors import InputError, cut, one_line, printable
from tf_exporter.options import EMBEDDING, LOWER_CASING, Options
from tf_exporter.publish import MANIFEST, Publication, as_json, write_text, writing
from tf_exporter.source import open_model

logger = logging.getLogger("tf_exporter")

_MOST_NAMED = 20
"""Keys of a file that are named in the line of output; the manifest has all."""


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
def overwhelmed() -> Iterator[None]:
    """What files of a model can do to Python and to native code whatever is checked before, as an `InputError`.

    A panic of `tokenizers`' native code is no `Exception` to Python.
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
        raise InputError(f"the tokenizer makes Hugging Face tokenizers panic ({one_line(error)})") from None


@overwhelmed()
def convert(
    model: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | None = None,
    local_files_only: bool = False,
    follow_links: bool = False,
    max_seq_length: int | None = None,
    truncate_dim: int | None = None,
    prompt_name: str | None = None,
    tokenizer_ops: str = "core",
    precision: str = "float32",
    micro_batch_tokens: int = 512,
    export_type: str = EMBEDDING,
    serving: str | None = None,
    default_seq_length: int = 128,
    do_lower_case: bool | None = None,
    pooler: str = "checkpoint",
    sentences: int = 1,
    batch_size: int | None = None,
    sequence_length: int | None = None,
    embeddings_on_cpu: bool = False,
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
        follow_links: let files of a local folder be links to regular files outside of it, as Bazel, Nix and DVC have them.
        max_seq_length: cut texts at this many tokens, in place of the model's own limit.
        truncate_dim: keep this many leading dimensions, in place of the model's own choice.
        prompt_name: the prompt of `serving_default`, in place of the model's default.
        tokenizer_ops: "core" (stock TensorFlow ops) or "tensorflow-text" (its matching op: faster for large batches, but a
            server then needs the op library of tensorflow-text; WordPiece only).
        precision: "float32", "bfloat16" (matrix products in it: faster on some CPUs and GPUs, slower on others) or "float16"
            (weights stored in half the space, computed in float32).
        micro_batch_tokens: about how many tokens a slice of the batch has. What is best for CPUs is small, as a slice then stays
            in the cache, and some slices are computed side by side; a GPU wants more at a time, 16,384 or so.
        export_type: what the SavedModel is: "sentence-embedding" (strings → embeddings, or scores of a CrossEncoder),
            "preprocessing", "encoder" and "encoder-with-mlm" (TensorFlow Hub's pair for text, to be trained further) or
            "classifier" (strings → labels of a …ForSequenceClassification model).
        serving: what to make in `output_dir`: None (the SavedModel itself), "tf-serving" (the next version of a model:
            output_dir/N, with warm-up requests and batching parameters), "triton" (a model of a repository, for the Python
            backend) or "triton-tensorflow" (for the TensorFlow backend, which Triton had up to 25.02).
        default_seq_length: of preprocessing: tokens a text has where a call does not say.
        do_lower_case: of preprocessing and encoders: whether texts are lower-cased, in place of what the tokenizer says; of
            Google's checkpoints, which do not say, in place of what their vocabulary shows.
        pooler: of encoders: "checkpoint" (its own), "identity" (the first token) or "random" (a new one, to be trained).
        sentences: of classifiers: how many texts `serving_default` takes, 1 or 2.
        batch_size: the number of texts of each call, so that shapes are static, as accelerators want them.
        sequence_length: the number of tokens of each text, as well; shorter ones are padded, longer ones cut.
        embeddings_on_cpu: keep the word embeddings in the host's memory.
        verify: "quick" (seconds, up to two minutes), "full" (many minutes: every code point, and longer texts) or "off".
        atol: largest absolute difference to the reference's embeddings, in float32; a reduced precision has limits of its own,
            a cosine for embeddings and a difference for scores.
        force: replace an earlier conversion at `output_dir`.
        quiet: no progress bars.

    Raises:
        ConversionError: see `tf_exporter.errors`. Nothing is left at `output_dir` then.
    """
    options = Options(
        max_seq_length=max_seq_length,
        truncate_dim=truncate_dim,
        prompt_name=prompt_name,
        micro_batch_tokens=micro_batch_tokens,
        quiet=quiet,
        tokenizer_ops=tokenizer_ops,
        precision=precision,
        export_type=export_type,
        serving=serving,
        default_seq_length=default_seq_length,
        do_lower_case=do_lower_case,
        pooler=pooler,
        sentences=sentences,
        batch_size=batch_size,
        sequence_length=sequence_length,
        embeddings_on_cpu=embeddings_on_cpu,
        verify=verify,
        atol=atol,
    )
    options.check()
    from tf_exporter.serving import layout

    place = layout(serving, output_dir, os.fspath(model), tokenizer_ops, force)
    publication = Publication(place.output, force, place.saved_model)
    logger.info("reading %s", model)
    source = open_model(
        os.fspath(model),
        revision=revision,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        follow_links=follow_links,
        quiet=quiet,
    )
    from tf_exporter.google import folder as googles
    from tf_exporter.model.check import check_supported

    of_google = googles.is_googles(source)
    if not of_google and export_type not in LOWER_CASING:
        googles.check_lower_case(do_lower_case)
    if not of_google:
        check_supported(source, options)
    with silenced_stderr():
        import tensorflow  # noqa: F401  # greets on standard error, whatever its log level
    hide_triton()
    from tf_exporter.exports import EXPORTS

    with publication:
        folder = publication.partial / place.saved_model
        read = googles.as_transformers(source, do_lower_case, publication.partial) if of_google else nullcontext(source)
        with read as model_source:
            export = EXPORTS[export_type](model_source, folder, options)
        with writing(folder):
            write_text(folder, MANIFEST, as_json(export.manifest))
            write_text(folder, "README.md", export.card)
            place.write_files(publication.partial, export.manifest)
        publication.publish()
    lines = [*export.lines, *ignored_lines(export.manifest["ignored"])]
    output, saved_model = publication.output, publication.output / place.saved_model
    return Conversion(output, saved_model, export.manifest, export.manifest["verification"], lines)


def ignored_lines(ignored: dict[str, list[str]]) -> list[str]:
    """One line about the keys that the reference does not read; none where there are no such keys."""
    files = "; ".join(f"{printable(file)}: {_named(keys)}" for file, keys in ignored.items() if keys)
    return [f"Ignored, as the reference does not read them: {files}."] if files else []


def _named(keys: list[str]) -> str:
    """Keys for a line of output: each cut where it is long, and the first of many."""
    more = f" and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else ""
    return ", ".join(cut(printable(key), 80) for key in keys[:_MOST_NAMED]) + more


def hide_triton() -> None:
    """Makes `import triton` fail from now on, unless it is loaded already.

    transformers may import torch, and torch triton, whose copy of LLVM ends a process that has TensorFlow's.
    """
    sys.modules.setdefault("triton", None)  # type: ignore[arg-type]  # None is how Python marks what cannot be imported


@contextmanager
def silenced_stderr() -> Iterator[None]:
    """Drops what native code writes to standard error; Python's exceptions still come through."""
    try:
        kept = os.dup(2)
    except OSError:  # closed, as of a service
        yield
        return
    with suppress(AttributeError, OSError):  # no such stream, or nobody who reads it
        sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
