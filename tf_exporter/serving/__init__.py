"""What servers want around a SavedModel: where it lies, and which files are beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tf_exporter.errors import UnsupportedError, UsageError
from tf_exporter.serving import tf_serving, triton

SERVING = ("tf-serving", "triton", "triton-tensorflow")


@dataclass(frozen=True)
class Layout:
    """Where a conversion is published."""

    output: str | os.PathLike[str]
    """The folder that takes its place by one rename."""
    saved_model: str = ""
    """The SavedModel's folder in it."""
    write_files: Callable[[Path, dict[str, Any]], None] = lambda folder, values: None
    """Writes the server's own files into a folder laid out like `output`; takes the manifest."""


def layout(serving: str | None, output_dir: str | os.PathLike[str], model: str, tokenizer_ops: str, force: bool) -> Layout:
    """What `--serving` makes of an output folder: a SavedModel in it, or what a server reads.

    Args:
        serving: one of `SERVING`; None: the SavedModel alone.
        output_dir: of "tf-serving" the folder of one model's versions, of the others a repository of models.
        model: a folder or the name of a model on the Hub, which names the model in a repository.
        tokenizer_ops: "core" where a server has no others.
        force: whether what is there may be replaced.

    Raises:
        UsageError: the folder holds something else, or a package is missing.
        UnsupportedError: no such layout.
    """
    if serving is None:
        return Layout(output_dir)
    base = Path(os.path.expanduser(output_dir))  # Path's own raises where there is no such user
    if serving not in SERVING:
        raise UnsupportedError("arguments", "--serving", serving, SERVING)
    if not os.fspath(output_dir):
        raise UsageError("the output folder has no name")
    if (base / "saved_model.pb").exists():
        raise UsageError(f"{base}: is a SavedModel itself; --serving {serving} makes folders in it")
    if serving == "tf-serving":
        return Layout(tf_serving.next_version(base, force), "", tf_serving.write_files)
    if serving == "triton-tensorflow" and tokenizer_ops != "core":
        raise UsageError(f"--tokenizer-ops {tokenizer_ops}: Triton's TensorFlow backend has TensorFlow's own ops only")
    backend = triton.PYTHON if serving == "triton" else triton.TENSORFLOW
    return Layout(base / model_name(model), triton.SAVED_MODEL, partial(triton.write_files, backend=backend))


def model_name(model: str) -> str:
    """The last part of a folder or of a name on the Hub, in letters that servers and URLs take."""
    name = os.path.basename(os.path.abspath(model) if os.path.exists(model) else model.rstrip("/"))
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".-") or "model"
