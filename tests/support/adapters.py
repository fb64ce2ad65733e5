"""Models with adapters, whose bases may be in any folder."""

from __future__ import annotations

from pathlib import Path

from tf_exporter.graph.text_model import TextModel
from tf_exporter.model.source import ModelSource
from tf_exporter.modules.spec import read_model
from tf_exporter.options import Options


def built(folder: Path) -> TextModel:
    """The model of a folder, whose base may be anywhere."""
    source = ModelSource(folder, str(folder), follow_links=True)
    return TextModel(source, read_model(source), Options())
