"""The same artifacts in older TensorFlow versions, each in its own environment.

Writes `results/older_tensorflow.json`, from which docs/serving.md has its table.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import sentence_transformers  # noqa: F401, I001  # before TensorFlow: their copies of LLVM abort in the other order
import numpy as np
from fixtures.minilm import minilm_folder
from fixtures.popular import POPULAR
from tests.support.helpers import hostile_texts
from tf_exporter import convert
from tf_exporter.verification.reference_process import load
from tf_exporter.verification.sample_texts import decoded

VERSIONS = ("2.12", "2.15", "2.17", "2.19", "2.20", "2.21")
SMALL = (
    "multilingual-e5-small",
    "all-distilroberta-v1",
    "gte-modernbert-base",
    "embeddinggemma-300m",
    "sentence-t5-base",
    "clip-ViT-B-32",
    "nomic-embed-text-v2-moe",
    "bge-multilingual-gemma2",
    "Nemotron-3-Embed-1B-BF16",
    "models trained from Qwen3 with sentence-transformers 5.4 or later",
)
"""Popular models whose small variants cover every kind of tokenizer, decoders and experts."""
RESULT = Path(__file__).parents[1] / "results" / "older_tensorflow.json"

CHILD = """
import base64, json, sys
import numpy as np
import tensorflow as tf
figures = {"tensorflow": tf.__version__}
for name, place in json.load(open(sys.argv[1])).items():
    texts = [base64.b64decode(text) for text in json.load(open(place + ".json"))]
    try:
        graph = tf.saved_model.load(place)
        outputs = graph.signatures["serving_default"](input_sequence=tf.constant(texts))
        embeddings = outputs["sentence_embedding"].numpy()
        figures[name] = float(np.abs(embeddings - np.load(place + ".npy")).max())
    except Exception as error:
        figures[name] = str(error).splitlines()[0][:200]
print(json.dumps(figures))
"""


def artifacts(place: Path) -> dict[str, str]:
    """Name → folder of a converted model, with texts and the reference's embeddings beside it."""
    real = minilm_folder()
    sources = {"all-MiniLM-L6-v2": real} if real is not None else {}
    by_hand = {}
    for number, popular in enumerate(POPULAR):
        if popular.names[0] in SMALL:
            name = f"as {popular.names[0]}"
            sources[name] = popular.write(place / f"source{number}" / "model")
            by_hand[name] = popular.by_hand
    folders = {}
    texts = hostile_texts()
    strings = [decoded(text) for text in texts]
    for number, (name, source) in enumerate(sources.items()):
        folder = place / f"model{number}"
        convert(source, folder)
        own = by_hand.get(name)
        if own is None:
            # One by one: in some models, padding on the left changes the reference's answers.
            expected = load(str(source), "SentenceTransformer").encode(strings, batch_size=1)
        else:
            expected = own(source, strings, 32)
        np.save(f"{folder}.npy", np.asarray(expected))
        Path(f"{folder}.json").write_text(
            json.dumps([base64.b64encode(text).decode() for text in texts])
        )
        folders[name] = str(folder)
    return folders


def main() -> None:
    """Writes the largest differences in every version."""
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "artifacts.json").write_text(json.dumps(artifacts(place)))
        for version in VERSIONS:
            environment = place / f"tensorflow-{version}"
            subprocess.run([sys.executable, "-m", "venv", environment], check=True)
            python = str(environment / "bin/python")
            numpy = "numpy<2" if version < "2.18" else "numpy"
            packages = [f"tensorflow-cpu=={version}.*", numpy, "setuptools<81"]
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
            command = [python, "-c", CHILD, str(place / "artifacts.json")]
            result = subprocess.run(
                command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""}
            )
            figures[version] = (
                json.loads(result.stdout)
                if result.returncode == 0
                else {"error": result.stderr[-300:]}
            )
            print(version, figures[version], flush=True)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
