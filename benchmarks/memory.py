"""Peak memory of converting a model of XLM-RoBERTa-large's size: `python -m benchmarks.memory`.

Random weights, sharded, 2.2 GB in float32. Converts with and without verification, each in a process of its own, and prints how
much memory that process and, apart from it, the reference's had at most.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

_LAYERS, _HIDDEN, _VOCAB = 24, 1024, 250_002
_PER_SHARD = 2**29
_CONVERT = """
import json, resource, sys
from tf_exporter import convert
conversion = convert(sys.argv[1], sys.argv[2], verify=sys.argv[3])
peaks = [resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps([*peaks, conversion.summary]))
"""


def write_large_model(folder: Path) -> int:
    """A sentence-transformers folder; the bytes of its weights."""
    import sentence_transformers  # noqa: F401  # before TensorFlow, which fixtures import: their copies of LLVM abort otherwise
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
        shapes = {name: tuple(tensor.shape) for name, tensor in AutoModel.from_config(config).named_parameters()}
    config.save_pretrained(folder)
    large_tokenizer().save_pretrained(folder)
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
            ]
        )
    )
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 512, "do_lower_case": False}))
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
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return sum(4 * int(np.prod(shape)) for shape in shapes.values())


def main() -> None:
    """Prints a line for each kind of verification."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        folder.mkdir()
        size = write_large_model(folder)
        allowed = 1.6 * size + 2**30
        print(f"weights {size / 1e9:.2f} GB, allowed {allowed / 1e9:.2f} GB (1.6 times the weights and 1 GiB)", flush=True)
        for level in ("off", "quick"):
            started = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-c", _CONVERT, str(folder), f"{place}/{level}", level], stdout=subprocess.PIPE, check=True
            )
            converting, reference, summary = json.loads(done.stdout.splitlines()[-1])
            print(
                f"--verify {level:5} converting {converting / 1e9:.2f} GB ({(converting - 2**30) / size:.2f} times the weights "
                f"and 1 GiB), the reference {reference / 1e9:.2f} GB, {time.monotonic() - started:.0f} s; {' '.join(summary)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
