"""The reference of encoders and classifiers, in a process of its own: what transformers makes of given token ids."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tf_exporter import reference

Arrays = dict[str, np.ndarray]


def answers(folder: Path, classes: list[str], batches: list[Arrays]) -> tuple[list[Arrays], dict[str, str]]:
    """What classes of transformers, as AutoModel, make of each batch, in float32 on the CPU; and the versions of the packages.

    Args:
        folder: the model.
        classes: what loads it: "AutoModel" gives `hidden_states`, [layers, batch, length, hidden], and `pooler_output`, a class
            with a head `logits`.
        batches: `input_ids`, `attention_mask` and, where it has them, `token_type_ids`, int32 [batch, length] each.

    Raises:
        VerificationError: transformers cannot run the model.
    """
    process = reference.start(__name__, {"model": str(folder), "classes": classes})
    found, log = process.communicate(_packed({}, batches))
    reference.check_ended(process, log, "transformers")
    return _unpacked(found)


def _packed(told: dict[str, Any], batches: list[Arrays]) -> bytes:
    archive = io.BytesIO()
    arrays = {f"{index}/{name}": array for index, batch in enumerate(batches) for name, array in batch.items()}
    np.savez(archive, told=np.array(json.dumps(told)), **arrays)  # type: ignore[arg-type]  # str keys
    return archive.getvalue()


def _unpacked(data: bytes) -> tuple[list[Arrays], dict[str, str]]:
    batches: dict[int, Arrays] = {}
    with np.load(io.BytesIO(data)) as arrays:
        told = json.loads(str(arrays["told"]))
        for key in arrays.files:
            index, _, name = key.partition("/")
            if name:
                batches.setdefault(int(index), {})[name] = arrays[key]
    return [batches[index] for index in sorted(batches)], told


def main(arguments: str) -> None:
    """The reference process; `arguments` is a JSON object."""
    options = json.loads(arguments)
    with reference.answering() as output:
        import torch
        import transformers

        batches, _ = _unpacked(sys.stdin.buffer.read())
        found: list[Arrays] = [{} for _ in batches]
        for name in options["classes"]:
            found = [{**known, **answer} for known, answer in zip(found, _answered(options["model"], name, batches))]
        versions = {"transformers": transformers.__version__, "torch": torch.__version__}
        output.write(_packed(versions, found))


def _answered(folder: str, name: str, batches: list[Arrays]) -> list[Arrays]:
    """By one class, which is in memory no longer than that."""
    import torch
    import transformers

    model = getattr(transformers, name).from_pretrained(
        folder, local_files_only=True, dtype=torch.float32, attn_implementation="eager"
    )
    model.eval()
    # Of a head, its scores are enough: all layers' outputs of many texts would fill the memory.
    return [_computed(torch, model, batch, layers=name == "AutoModel") for batch in batches]


def _computed(torch: Any, model: Any, batch: Arrays, layers: bool) -> Arrays:
    """All hidden states, layer by layer, where asked for, and the pooled output; or logits, of a model with a head."""
    inputs = {name: torch.from_numpy(array.astype(np.int64)) for name, array in batch.items()}
    with torch.no_grad():
        result = model(**inputs, output_hidden_states=layers)
    found = {"hidden_states": np.stack([layer.numpy() for layer in result.hidden_states])} if layers else {}
    for name in ("pooler_output", "logits"):
        if getattr(result, name, None) is not None:
            found[name] = result[name].numpy()
    return found
