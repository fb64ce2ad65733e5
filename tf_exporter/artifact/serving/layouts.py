"""The folder layouts that servers expect around a SavedModel."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tf_exporter.artifact.serving import tf_serving, triton
from tf_exporter.errors import UsageError
from tf_exporter.names import simple_name


@dataclass(frozen=True)
class Layout:
    """The folders and files of a published conversion."""

    output: str | os.PathLike[str]
    """The folder that one rename puts in place."""
    saved_model: str = ""
    """The SavedModel's folder, relative to `output`."""
    write_files: Callable[[Path, dict[str, Any]], None] = lambda folder, values: None
    """Writes the server's own files; takes a folder laid out like `output`, and the manifest."""


def layout(
    serving: str | None,
    output_dir: str | os.PathLike[str],
    model: str,
    tokenizer_ops: str,
    force: bool,
) -> Layout:
    """The layout of an output folder: a SavedModel alone, or the layout of a server.

    Args:
        serving: one of `options.SERVING`; None: the SavedModel alone.
        output_dir: the folder of a model's versions for "tf-serving", a model repository for
            Triton, otherwise the SavedModel's folder.
        model: a folder or the name of a model on the Hub, which names the model in a repository.
        tokenizer_ops: has to be "core" for a server that loads no other ops.
        force: whether an earlier conversion may be replaced.

    Raises:
        UsageError: the folder holds something else or cannot be read, or a package is missing.
    """
    if serving is None:
        return Layout(output_dir)
    base = Path(os.path.expanduser(output_dir))  # Path.expanduser raises for an unknown user
    if not os.fspath(output_dir):
        raise UsageError("the output folder has no name")
    try:
        is_saved_model = (base / "saved_model.pb").exists()
    except OSError as error:
        raise UsageError(f"{base}: cannot be read ({error.strerror})") from error
    if is_saved_model:
        raise UsageError(f"{base}: is a SavedModel itself; --serving {serving} makes folders in it")
    if serving == "tf-serving":
        return Layout(tf_serving.next_version(base, force), "", tf_serving.write_files)
    if serving == "triton-tensorflow" and tokenizer_ops != "core":
        raise UsageError(
            f"--tokenizer-ops {tokenizer_ops}: Triton's TensorFlow backend has TensorFlow's "
            "own ops only"
        )
    backend = triton.PYTHON if serving == "triton" else triton.TENSORFLOW
    return Layout(
        base / model_name(model), triton.SAVED_MODEL, partial(triton.write_files, backend=backend)
    )


def model_name(model: str) -> str:
    """The last part of a folder or Hub name, in characters that servers and URLs accept."""
    name = os.path.basename(os.path.abspath(model) if os.path.exists(model) else model.rstrip("/"))
    return simple_name(name).lstrip(".-") or "model"
