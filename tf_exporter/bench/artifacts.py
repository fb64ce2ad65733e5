"""Artifacts on the disk and in memory: what the manifest says, and `serving_default` as a call."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from tf_exporter.errors import InputError, UsageError, one_line
from tf_exporter.names import ATTENTION, CLASSIFIER, DEFAULT, EMBEDDING, TOKENIZE

MANIFEST = Path("assets.extra/tf_exporter.json")
GRAPH = "saved_model.pb"
Texts: TypeAlias = Sequence[tuple[str, ...]]
"""Texts, each a tuple of one string, or pairs of strings."""
Signature: TypeAlias = Any
"""A signature of a loaded SavedModel; TensorFlow has no types."""
_LONGEST_REASON = 200


@dataclass(frozen=True)
class Artifact:
    """An artifact on the disk."""

    folder: str
    """As the user named it."""
    saved_model: Path
    """The folder of the SavedModel, which is inside `folder` for a layout of a server."""
    kind: str
    """The kind of model, as "CrossEncoder", or "classifier"."""
    precision: str
    batch_size: int | None
    """The only number of texts that a call takes; None: any."""
    custom_ops: tuple[str, ...]
    """Ops of tensorflow-text in the graph."""


def open_artifact(folder: str) -> Artifact:
    """Reads the manifest of an artifact.

    Raises:
        InputError: there is no such folder, or it holds no artifact of tf-exporter.
        UsageError: the folder holds several artifacts, or one that does not take texts.
    """
    saved_model = _saved_model(Path(folder))
    path = saved_model / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); it is part of each artifact of tf-exporter"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a manifest ({one_line(error)})") from error
    if not isinstance(manifest, dict):
        raise InputError(f"{path}: not a manifest")
    export_type, precision, batch_size, ops = (
        manifest.get(key) for key in ("export_type", "precision", "batch_size", "custom_ops")
    )
    if export_type not in (EMBEDDING, CLASSIFIER):
        raise UsageError(
            f"{folder}: of --export-type {export_type}; only {EMBEDDING} and {CLASSIFIER} are timed"
        )
    if (
        not isinstance(precision, str)
        or not (batch_size is None or isinstance(batch_size, int))
        or not isinstance(ops, list)
    ):
        raise InputError(f"{path}: precision, batch_size or custom_ops is missing or unknown")
    kind = str(manifest.get("kind", export_type))
    return Artifact(folder, saved_model, kind, precision, batch_size, tuple(map(str, ops)))


def _saved_model(folder: Path) -> Path:
    """The SavedModel's folder: the given one, or the newest version in a server's layout."""
    try:
        if (folder / GRAPH).is_file():
            return folder
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
        models = [*filter(None, map(_newest, (folder, *sorted(folder.iterdir()))))]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from error
    if not models:
        raise InputError(f"{folder}: no SavedModel (no {GRAPH})")
    if len(models) > 1:
        names = ", ".join(str(model) for model in models[:10])
        raise UsageError(f"{folder}: several models; name one of them: {names}")
    return models[0]


def _newest(folder: Path) -> Path | None:
    """The newest version of a model of TensorFlow Serving or Triton; None: no such model."""
    if not folder.is_dir():
        return None
    versions = [entry for entry in folder.iterdir() if entry.name.isdecimal()]
    for version in sorted(versions, key=lambda entry: int(entry.name), reverse=True):
        for place in (version, version / "model.savedmodel"):
            if (place / GRAPH).is_file():
                return place
    return None


def check_kinds(artifacts: Sequence[Artifact]) -> None:
    """Refuses artifacts that take or give different things.

    Raises:
        UsageError: names two of them.
    """
    first = artifacts[0]
    for other in artifacts[1:]:
        if other.kind != first.kind:
            raise UsageError(
                f"{first.folder} is a {first.kind}, {other.folder} a {other.kind}: compare "
                "artifacts of one kind"
            )


class Loaded:
    """An artifact in memory.

    Raises:
        InputError: the graph has no `serving_default`, or that does not take texts.
        Exception: whatever TensorFlow raises for a graph that it cannot load.
    """

    def __init__(self, artifact: Artifact):
        import tensorflow as tf

        if artifact.custom_ops:
            import tensorflow_text  # noqa: F401
        # Signatures do not keep the variables of their graph.
        self._graph = tf.saved_model.load(str(artifact.saved_model))
        self._artifact, signatures = artifact, self._graph.signatures
        if DEFAULT not in signatures:
            raise InputError(f"{artifact.folder}: no signature {DEFAULT}")
        self._serve, self._tokenize = signatures[DEFAULT], signatures.get(TOKENIZE)
        self._names = _arguments(self._serve)
        if self._tokenize is not None and _arguments(self._tokenize) != self._names:
            self._tokenize = None
        if not 1 <= len(self._names) <= 2:
            raise InputError(f"{artifact.folder}: {DEFAULT} does not take texts or pairs")

    @property
    def pairs(self) -> bool:
        """Whether a text is a pair."""
        return len(self._names) == 2

    @property
    def counts_tokens(self) -> bool:
        """Whether the artifact can say how many tokens a text has."""
        return self._tokenize is not None

    def tokens(self, texts: Texts) -> list[int]:
        """The number of tokens of each text, special tokens included, as the model takes it."""
        assert self._tokenize is not None
        counts: list[int] = (
            self._tokenize(**self._tensors(texts))[ATTENTION].numpy().sum(1).tolist()
        )
        return counts

    def call(self, texts: Texts) -> Callable[[], None]:
        """A function that computes these texts and waits for all results.

        An artifact for a fixed number of texts computes them in as many calls as it takes; the last
        is filled up with empty texts.
        """
        size = self._artifact.batch_size or len(texts)
        empty = ("",) * len(self._names)
        batches = [
            self._tensors([*batch, *[empty] * (size - len(batch))])
            for batch in (texts[start : start + size] for start in range(0, len(texts), size))
        ]

        def run() -> None:
            for batch in batches:
                for result in self._serve(**batch).values():
                    result.numpy()

        return run

    def _tensors(self, texts: Texts) -> dict[str, Any]:
        import tensorflow as tf

        return {name: tf.constant(list(column)) for name, column in zip(self._names, zip(*texts))}


def _arguments(signature: Signature) -> list[str]:
    """The names of a signature's arguments, in order, if all of them are strings; else none."""
    import tensorflow as tf

    arguments = signature.structured_input_signature[1]
    if any(spec.dtype != tf.string for spec in arguments.values()):
        return []
    return sorted(arguments)


def reason(error: Exception) -> str:
    """Why TensorFlow could not load or run a graph, on one line."""
    import tensorflow as tf

    text = error.message if isinstance(error, tf.errors.OpError) else str(error)
    # The first lines only say that there was an error, and the last ones in which function.
    lines = [line for line in text.splitlines() if not line.startswith(_PREAMBLE)]
    return one_line(_PLACES.sub("", " ".join(lines)) or type(error).__name__, _LONGEST_REASON)


_PREAMBLE = ("Graph execution error", "Detected at node", "<stack traces unavailable>")
_PLACES = re.compile(r"\[\[.*?\]\]|\[Op:\w+\]")
