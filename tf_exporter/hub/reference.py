"""The reference of encoders and classifiers, in a process of its own: what transformers makes of given token ids."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tf_exporter import processes
from tf_exporter.errors import one_line
from tf_exporter.scratch import scratch_folder

REQUIRED = ("torch",)
"""Packages beside transformers."""
Arrays = dict[str, np.ndarray]


def answers(
    folder: Path, classes: list[str], batches: list[Arrays], seconds: float
) -> tuple[list[Arrays], list[dict[int, str]], dict[str, str]]:
    """What classes of transformers, as AutoModel, make of each batch, in float32 on the CPU.

    Args:
        folder: the model.
        classes: what loads it: "AutoModel" gives `hidden_states`, [layers, batch, length, hidden], and `pooler_output`, a class
            with a head `logits`.
        batches: `input_ids`, `attention_mask` and, where it has them, `token_type_ids`, int32 [batch, length] each.
        seconds: how long it may take.

    Returns:
        The answers of each batch; the rows of each that cannot be computed, which the answers lack, and why; the versions of the
        packages.

    Raises:
        VerificationError: transformers cannot run the model.
    """
    with scratch_folder() as place:
        process = processes.start(__name__, {"model": str(folder), "classes": classes}, place)
        found, told = _unpacked(processes.finished(process, _packed({}, batches), "transformers", seconds))
    failed = [{int(row): reason for row, reason in rows.items()} for rows in told["failed"]]
    return found, failed, told["versions"]


def _packed(told: dict[str, Any], batches: list[Arrays]) -> bytes:
    archive = io.BytesIO()
    arrays = {f"{index}/{name}": array for index, batch in enumerate(batches) for name, array in batch.items()}
    np.savez(archive, told=np.array(json.dumps({**told, "count": len(batches)})), **arrays)  # type: ignore[arg-type]  # str keys
    return archive.getvalue()


def _unpacked(data: bytes) -> tuple[list[Arrays], dict[str, Any]]:
    batches: dict[int, Arrays] = {}
    with np.load(io.BytesIO(data)) as arrays:
        told = json.loads(str(arrays["told"]))
        for key in arrays.files:
            index, _, name = key.partition("/")
            if name:
                batches.setdefault(int(index), {})[name] = arrays[key]
    # Of a batch that no row could be computed of, there is nothing.
    return [batches.get(index, {}) for index in range(told["count"])], told


def main(arguments: str) -> None:
    """The reference process; `arguments` is a JSON object."""
    options = json.loads(arguments)
    with processes.answering() as output:
        import torch
        import transformers
        from transformers.utils import logging

        logging.disable_progress_bar()
        batches, _ = _unpacked(sys.stdin.buffer.read())
        found: list[Arrays] = [{} for _ in batches]
        failed: list[dict[int, str]] = [{} for _ in batches]
        for name in options["classes"]:
            answered = _answered(options["model"], name, batches)
            found = [{**known, **answer} for known, (answer, _) in zip(found, answered)]
            failed = [{**known, **rows} for known, (_, rows) in zip(failed, answered)]
        versions = {"transformers": transformers.__version__, "torch": torch.__version__}
        output.write(_packed({"versions": versions, "failed": failed}, found))


def _answered(folder: str, name: str, batches: list[Arrays]) -> list[tuple[Arrays, dict[int, str]]]:
    """By one class, which is in memory no longer than that: the answers, and the rows that there are none of."""
    import torch
    import transformers

    # None: transformers chooses by the class, whatever a config asks for.
    chosen = {"attn_implementation": None, "experts_implementation": None, "trust_remote_code": False}
    model = getattr(transformers, name).from_pretrained(folder, local_files_only=True, dtype=torch.float32, **chosen)
    model.eval()
    if name == "AutoModel":
        return [(_computed(torch, model, batch, layers=True), {}) for batch in batches]
    # Of a head, its scores are enough: all layers' outputs of many texts would fill the memory.
    found = [_of_each(torch, model, batch) for batch in batches]
    if not any(answer for answer, _ in found):
        raise RuntimeError(next(reason for _, rows in found for reason in rows.values()))
    return found


def _of_each(torch: Any, model: Any, batch: Arrays) -> tuple[Arrays, dict[int, str]]:
    """The scores of a batch; where it fails, those of each row by itself, and what fails."""
    try:
        return _computed(torch, model, batch, layers=False), {}
    except Exception as error:
        if processes.is_for_memory(error):
            raise
    answers: list[Arrays] = []
    failed: dict[int, str] = {}
    for row in range(len(batch["input_ids"])):
        try:
            answers.append(_computed(torch, model, {name: array[row : row + 1] for name, array in batch.items()}, layers=False))
        except Exception as error:
            if processes.is_for_memory(error):
                raise
            failed[row] = one_line(error)
    return {name: np.concatenate([answer[name] for answer in answers]) for name in (answers[0] if answers else {})}, failed


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
