"""The config of MultiVectorMask: the tokens that count for a score."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.arguments import finish
from tf_exporter.modules.dimensions import Dimensions
from tf_exporter.names import DOCUMENT

_MOST = 10_000
"""The most words or ids in a list."""
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class MaskConfig:
    """The words that are left out, and the ids that alone count."""

    file: str
    skipped: tuple[str, ...]
    tasks: tuple[str, ...]
    """The tasks whose texts leave words out. A text without a task is a document."""
    kept: tuple[int, ...]
    """The ids that count in other texts than queries; none: all."""


def read(file: ConfigFile, dimensions: Dimensions) -> MaskConfig:
    """Reads config.json; a mask changes no width.

    Raises:
        UnsupportedError: a list has values of another type, or no earlier module makes tokens.
    """
    dimensions.width_of(file, "type", "token_embeddings")
    skipped = _strings(file, "skiplist_words") or ()
    tasks = _strings(file, "skiplist_tasks", single=True)
    kept: list[int] = file.take("keep_only_token_ids", (list, type(None))) or []
    numbers = all(isinstance(id, int) and not isinstance(id, bool) for id in kept)
    if not numbers or len(kept) > _MOST or not all(0 <= id <= _LARGEST for id in kept):
        file.refuse(file.unsupported("keep_only_token_ids", f"at most {_MOST:,} token ids"))
        kept = []
    rows = dimensions.get("input_ids")
    if rows is not None and any(id >= rows for id in kept):
        file.refuse(file.unsupported("keep_only_token_ids", f"token ids below {rows}"))
    finish(file, "MultiVectorMask")
    return MaskConfig(file.file, skipped, (DOCUMENT,) if tasks is None else tasks, tuple(kept))


def _strings(file: ConfigFile, key: str, single: bool = False) -> tuple[str, ...] | None:
    """A list of strings; `single`: or one string. None: the key is null or absent."""
    kinds = (list, type(None), str) if single else (list, type(None))
    values: list[str] | str | None = file.take(key, kinds)
    if values is None:
        return None
    values = [values] if isinstance(values, str) else values
    if len(values) > _MOST or not all(isinstance(value, str) for value in values):
        file.refuse(UnsupportedError(file.file, key, values[:5], f"at most {_MOST:,} strings"))
        return ()
    return tuple(values)
