"""Models in int8, on processors with and without a kernel for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.helpers import build
from tf_exporter.graph.text_model import TextModel
from tf_exporter.layers.int8 import has_kernel
from tf_exporter.verification.int8 import Int8Choice, convert_to_int8
from tf_exporter.verification.tolerances import Tolerance

needs_kernel = pytest.mark.skipif(
    not has_kernel(), reason="TensorFlow has no int8 kernel here: the processor has no VNNI"
)


def in_int8(
    folder: Path, precision: str, tolerance: Tolerance, texts: list[str] | None = None
) -> tuple[TextModel, Int8Choice]:
    """The model of a folder in int8, whose sums are computed in float32."""
    model = build(folder)
    choice = convert_to_int8(model, precision, texts, tolerance, simulated=True)
    assert choice is not None
    return model, choice
