"""bge-m3's heads beside FlagEmbedding's own class, which reads the same folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from fixtures.hybrid import write_hybrid
from tests.support.helpers import hostile_texts
from tf_exporter import convert
from tf_exporter.verification.sample_texts import decoded

pytestmark = pytest.mark.engines
PACKAGE = Path(sys.prefix) / "flag"
"""Where `make test-engines` unpacks FlagEmbedding, without its many dependencies."""
TOLERANCE = 1e-5

# Encodes texts. Packages are empty here but for their path: the package's own `__init__` imports
# rerankers, which transformers 5 does not have the parts for.
ENCODE = """
import importlib, json, sys, types
from pathlib import Path

_, root, folder, texts, place = sys.argv
NAME, FINE = "FlagEmbedding", "FlagEmbedding.finetune.embedder.encoder_only.m3"

def package(name):
    module = types.ModuleType(name)
    module.__path__ = [str(Path(root, *name.split(".")))]
    sys.modules[name] = module
    return module

def fill(name, part, *classes):
    module = importlib.import_module(f"{name}.{part}")
    for own in classes:
        setattr(sys.modules[name], own, getattr(module, own))

for name in (NAME, f"{NAME}.abc", f"{NAME}.abc.inference", f"{NAME}.abc.finetune",
             f"{NAME}.abc.finetune.embedder", f"{NAME}.inference", f"{NAME}.inference.embedder",
             f"{NAME}.inference.embedder.encoder_only", f"{NAME}.finetune",
             f"{NAME}.finetune.embedder", f"{NAME}.finetune.embedder.encoder_only", FINE,
             f"{FINE}.trainer", f"{FINE}.arguments"):
    package(name)
# What only training needs.
for name, classes in (
    (f"{NAME}.abc.finetune.embedder", ("AbsEmbedderRunner", "AbsEmbedderDataArguments",
                                       "EmbedderTrainerCallbackForDataRefresh")),
    (f"{FINE}.trainer", ("EncoderOnlyEmbedderM3Trainer",)),
    (f"{FINE}.arguments", ("EncoderOnlyEmbedderM3ModelArguments",
                           "EncoderOnlyEmbedderM3TrainingArguments")),
):
    for own in classes:
        setattr(sys.modules[name], own, type(own, (), {}))
fill(f"{NAME}.abc.inference", "AbsEmbedder", "AbsEmbedder")
fill(f"{NAME}.abc.finetune.embedder", "AbsModeling", "AbsEmbedderModel", "EmbedderOutput")
fill(FINE, "modeling", "EncoderOnlyEmbedderM3ModelForInference")
fill(FINE, "runner", "EncoderOnlyEmbedderM3Runner")
m3 = importlib.import_module(f"{NAME}.inference.embedder.encoder_only.m3")

model = m3.M3Embedder(folder, use_fp16=False, devices="cpu", normalize_embeddings=True)
result = model.encode(json.loads(Path(texts).read_text()), max_length=32, return_dense=True,
                      return_sparse=True, return_colbert_vecs=True)
Path(place).write_text(json.dumps({
    "dense": result["dense_vecs"].tolist(),
    "sparse": [{id: float(x) for id, x in own.items()} for own in result["lexical_weights"]],
    "vectors": [own.tolist() for own in result["colbert_vecs"]],
}))
"""


@pytest.mark.parametrize("model_type", ["xlm-roberta", "modernbert"])
def test_as_the_package(tmp_path: Path, model_type: str) -> None:
    folder = write_hybrid(tmp_path / "model", model_type)
    texts = [decoded(text) for text in hostile_texts()]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    arguments = (PACKAGE, folder, tmp_path / "texts.json", tmp_path / "result.json")
    done = subprocess.run(
        [sys.executable, "-c", ENCODE, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    expected = json.loads((tmp_path / "result.json").read_text())
    convert(folder, tmp_path / "out")
    encode = tf.saved_model.load(str(tmp_path / "out")).signatures["encode_all"]
    outputs = {name: own.numpy() for name, own in encode(tf.constant(texts)).items()}
    assert np.abs(outputs["sentence_embedding"] - expected["dense"]).max() <= TOLERANCE
    compared = 0
    for row in range(len(texts)):
        pairs = zip(outputs["indices"][row], outputs["weights"][row])
        ours = {str(id): weight for id, weight in pairs if id >= 0}
        theirs = expected["sparse"][row]
        assert ours.keys() == theirs.keys()
        assert all(abs(ours[id] - theirs[id]) <= TOLERANCE for id in ours)
        vectors = outputs["token_embeddings"][row][outputs["mask"][row] > 0]
        assert len(vectors) == len(expected["vectors"][row])
        assert np.abs(vectors - expected["vectors"][row]).max(initial=0) <= TOLERANCE
        compared += len(ours)
    assert compared > len(texts)
