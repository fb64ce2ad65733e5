"""StaticEmbedding, compared with sentence-transformers: its own files and model2vec's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import torch
from safetensors.torch import load_file, save_file

from fixtures import heads, models
from fixtures.models import Dense, Normalize
from tests.support.helpers import InProcessReference, answer, build
from tests.support.refusals import refused
from tf_exporter import InputError, UsageError, convert
from tf_exporter.errors import WeightsError
from tf_exporter.verification.reference import Job
from tf_exporter.verification.reference_process import load

ATOL = 1e-5
TEXTS = [*models.texts(1, 64), "[CLS] hello [SEP]", "é", "world " * 700]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.write_transformer(tmp_path_factory.mktemp("plain"), "bert")


def static_difference(folder: Path) -> float:
    model, theirs = build(folder), load(str(folder), "SentenceTransformer", None, None)
    result = model.encode(tf.constant(TEXTS), model.signatures["serving_default"]).numpy()
    assert not result[0].any()  # the empty text
    return float(np.abs(result - answer(theirs, Job(TEXTS, "", 32))).max())


@pytest.mark.parametrize("max_length", [None, 5])
def test_embeddings(tmp_path: Path, plain: Path, max_length: int | None) -> None:
    """Texts get no special tokens; tokenizer.json keeps its truncation."""
    folder = heads.write_static_model(tmp_path / "model", plain, [], max_length)
    assert static_difference(folder) <= ATOL
    assert build(folder).first.tokenizer_spec.max_length == max_length


def test_modules_after_it(tmp_path: Path, plain: Path) -> None:
    dense = Dense(16, 8, bias=False, activation_function=torch.nn.Identity())
    assert (
        static_difference(heads.write_static_model(tmp_path / "model", plain, [dense, Normalize()]))
        <= ATOL
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_files_of_model2vec(tmp_path: Path, plain: Path, dtype: torch.dtype) -> None:
    """Shared rows, weights of tokens, another library's config.json, and the folder "."."""
    folder = heads.write_static_model(tmp_path / "model", plain, [])
    module_folder = (
        folder / "0_StaticEmbedding" if (folder / "0_StaticEmbedding").exists() else folder
    )
    tokens = len(models.VOCAB)
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "embeddings": torch.randn(40, 16, generator=generator).to(dtype),
        "mapping": torch.randint(0, 40, (tokens,), generator=generator),
        "weights": torch.rand(tokens, generator=generator),
    }
    (module_folder / "config.json").write_text(
        json.dumps({"model_type": "model2vec", "normalize": True})
    )
    save_file(tensors, module_folder / "model.safetensors")
    modules = json.loads((folder / "modules.json").read_text())
    if module_folder == folder:
        modules[0]["path"] = "."
    (folder / "modules.json").write_text(json.dumps(modules))
    assert static_difference(folder) <= ATOL
    tensors["mapping"][3] = 40
    save_file(tensors, module_folder / "model.safetensors")
    refused(folder, WeightsError, "mapping")


@pytest.mark.slow
def test_conversion(tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
    folder = heads.write_static_model(tmp_path / "model", plain, [Normalize()])
    conversion = convert(folder, tmp_path / "out", verify="quick")
    assert conversion.manifest["modules"] == ["StaticEmbedding", "Normalize"]
    assert conversion.verification["max_abs_difference"] <= ATOL
    graph = tf.saved_model.load(str(tmp_path / "out"))
    assert graph(tf.constant([""])).numpy().tolist() == [[0.0] * 16]
    card = (tmp_path / "out/README.md").read_text()
    assert "Embeddings: float32 [batch, 16]. Texts may have any length." in card


def test_refusals(tmp_path: Path, plain: Path) -> None:
    folder = heads.write_static_model(tmp_path / "model", plain, [])
    refused(folder, UsageError, "--max-seq-length", max_seq_length=8)
    module_folder = next(folder.rglob("model.safetensors")).parent
    tensors = load_file(module_folder / "model.safetensors")
    save_file(
        {"embedding.weight": tensors["embedding.weight"], "more": torch.zeros(1)},
        module_folder / "model.safetensors",
    )
    refused(folder, WeightsError, "more")
    save_file(
        {"embedding.weight": tensors["embedding.weight"]}, module_folder / "model.safetensors"
    )
    (module_folder / "tokenizer.json").write_text('{"model": ')
    refused(folder, InputError, "tokenizer.json")
