"""A model with adapters for tasks, as sentence-transformers and PEFT load it.

Its own class is never run. The reference gets sentence-transformers' Transformer instead, to which
it adds the adapter of one task after the other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tf_exporter.model.source import ModelSource
from tf_exporter.modules.module_spec import LAST_TOKEN
from tf_exporter.modules.transformer.config import (
    TASK_MODULE,
    TRANSFORMER_CONFIGS,
    TransformerSpec,
)

_MODULES = "sentence_transformers.models"


def put_tasks(source: ModelSource, spec: TransformerSpec, view: Path) -> None:
    """Changes the reference's view of a model, if `spec` has adapters for tasks."""
    if spec.tasks is None:
        return
    spec.tasks.put(source, view)
    entries: list[dict[str, Any]] = []
    for entry in json.loads((view / "modules.json").read_text(encoding="utf-8")):
        if entry["type"] != TASK_MODULE:
            entries.append(entry)
            continue
        entries.append({**entry, "type": f"{_MODULES}.Transformer"})
        if spec.tasks.pools:
            entries.extend(_put_pooling(view))
            _put_limit(spec, view)
    _write(view / "modules.json", entries)


def _put_pooling(view: Path) -> list[dict[str, Any]]:
    """Adds the modules that are a part of the model's class; returns their entries."""
    entries = []
    for module in LAST_TOKEN:
        name = f"_{module.kind}"
        (view / name).mkdir()
        _write(view / name / "config.json", module.config.values)
        entries.append({"name": name, "path": name, "type": f"{_MODULES}.{module.kind}"})
    return entries


def _put_limit(spec: TransformerSpec, view: Path) -> None:
    """Sets the limit of the model's class, whose default is another one."""
    place = view / spec.folder
    configs = [place / name for name in TRANSFORMER_CONFIGS if (place / name).is_file()]
    for path in configs or [place / TRANSFORMER_CONFIGS[0]]:
        values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        _write(path, {**values, "max_seq_length": spec.max_seq_length})


def _write(path: Path, values: object) -> None:
    path.unlink(missing_ok=True)  # writing through a link would change the model
    path.write_text(json.dumps(values), encoding="utf-8")
