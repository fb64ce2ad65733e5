"""The process of the reference.

It imports its package while the graph is built in the main process. It opens the model when the
request arrives on standard input: all files of the model have been checked by then. It writes the
answer to standard output.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tf_exporter.errors import one_line
from tf_exporter.model.reference import processes
from tf_exporter.model.untyped import TorchModel
from tf_exporter.verification.reference import Answer, Arrays, Job, packed, unpacked


class Vectors(NamedTuple):
    """The vectors of a text, float32 [vectors, dim], and the ids of their tokens."""

    vectors: np.ndarray
    ids: np.ndarray


Row: TypeAlias = Any
"""The embedding of a text, float32 [dim], or its score, or its `Vectors`."""
_OWN_CHOICE = {"attn_implementation": None, "experts_implementation": None}
"""None: transformers ignores the config and uses fused attention if the class supports it."""


def main(arguments: str) -> None:
    """Runs the process. `arguments`: JSON with the model's folder and the package that loads it."""
    options = json.loads(arguments)
    with processes.answering() as output:
        package = importlib.import_module(options["package"])
        torch = importlib.import_module("torch")
        from transformers.utils import logging

        logging.disable_progress_bar()
        header, inputs = unpacked(sys.stdin.buffer.read())
        jobs = header["jobs"]
        if header["loading"] is None:
            loaders = [job["loader"] for job in jobs]
            answers = _answers_of_ids(options["model"], loaders, inputs)
        else:
            model = load(options["model"], *header["loading"], renamed=options["renamed"])
            place = Path(options["model"])
            answers = answers_of_jobs(model, place, [Job(**values) for values in jobs])
        versions = {
            options["package"].replace("_", "-"): package.__version__,
            "torch": torch.__version__,
        }
        if any(Path(options["model"]).rglob("adapter_config.json")):
            versions["peft"] = version("peft")
        output.write(
            packed(
                {"versions": versions, "failed": [a.failed for a in answers]},
                [a.arrays for a in answers],
            )
        )


def load(
    folder: str,
    kind: str,
    truncate_dim: int | None = None,
    max_seq_length: int | None = None,
    *,
    renamed: Mapping[str, str] | None = None,
) -> TorchModel:
    """The model in sentence-transformers, in float32 on the CPU.

    Arguments: see `Loading`, and `Reference` for `renamed`.
    """
    import sentence_transformers
    import torch

    options: dict[str, Any] = {"truncate_dim": truncate_dim} if truncate_dim is not None else {}
    options["model_kwargs"] = {"dtype": torch.float32, **_OWN_CHOICE}
    if renamed:
        options["model_kwargs"]["key_mapping"] = dict(renamed)
    options |= {"device": "cpu", "local_files_only": True, "trust_remote_code": False}
    with _without_images():
        model = getattr(sentence_transformers, kind)(folder, **options)
    # Modules other than a transformers model keep the dtype of their file.
    model = model.float()
    if max_seq_length is not None:
        model.max_seq_length = max_seq_length
        # The user's limit also overrides that of a module, as it does in the graph.
        for module in model.modules():
            for part in ("text", "chat_template"):
                getattr(module, "processing_kwargs", {}).get(part, {}).pop("max_length", None)
    return model


def answers_of_jobs(model: TorchModel, place: Path, jobs: list[Job]) -> list[Answer]:
    """The answer to each job, with its adapter. `place`: the model's folder."""
    adapters, answers = _Adapters(model, place), []
    for job in jobs:
        adapters.choose(job.adapter)
        answers.append(answers_to(model, job))
    return answers


class _Adapters:
    """The adapters of a model of sentence-transformers, each for a task."""

    def __init__(self, model: TorchModel, place: Path):
        self._model, self._place = model, place
        self._names: dict[str, str] = {}
        """Folder → the name of its adapter in the model."""

    def choose(self, folder: str) -> None:
        """Changes the model's weights by the adapter in a folder alone; "": by none."""
        if not folder and not self._names:
            return
        from peft.tuners.tuners_utils import BaseTunerLayer

        encoder = self._model[0].model
        if folder and folder not in self._names:
            self._names[folder] = f"task{len(self._names)}"
            encoder.load_adapter(str(self._place / folder), adapter_name=self._names[folder])
            # Like the model, adapters are stored in any dtype, and computed in float32.
            encoder.float()
        # As transformers' own methods, which ask for a version of peft that is not published yet.
        for module in encoder.modules():
            if isinstance(module, BaseTunerLayer):
                module.enable_adapters(bool(folder))
                if folder:
                    module.set_adapter(self._names[folder])


@contextmanager
def _without_images() -> Iterator[None]:
    """Replaces a processor that cannot be loaded by its tokenizer, as all inputs are texts.

    The processor's parts for images need packages and files that texts do not need.
    """
    from sentence_transformers.base.modules import transformer
    from transformers import AutoProcessor, AutoTokenizer

    def from_pretrained(name: str, **options: object) -> object:
        try:
            return AutoProcessor.from_pretrained(name, **options)
        except (ImportError, OSError):
            return AutoTokenizer.from_pretrained(name, **options)

    transformer.AutoProcessor = SimpleNamespace(from_pretrained=from_pretrained)
    try:
        yield
    finally:
        transformer.AutoProcessor = AutoProcessor


def answers_to(model: TorchModel, job: Job) -> Answer:
    """The embeddings or scores of texts that the reference can encode, and errors for the others.

    A batch that fails is tried again text by text.

    Raises:
        Exception: the reference's own error, if it can encode no text or memory is short.
    """
    batches = job.batches or [list(range(len(job.texts)))]
    values: dict[int, Row] = {}
    failed: dict[int, Exception] = {}
    for rows in batches:
        values.update(_row_results(lambda batch: _encoded(model, job, batch), rows, failed))
    if failed and not values:
        raise failed[min(failed)]
    arrays = _joined([values[row] for row in sorted(values)])
    return Answer(arrays, {row: one_line(failed[row]) for row in sorted(failed)})


def _joined(rows: list[Row]) -> Arrays:
    """The arrays of an `Answer`; see `Answer.values`."""
    if not isinstance(rows[0], Vectors):
        return {"values": np.stack(rows)}
    return {
        "values": np.concatenate([row.vectors for row in rows]),
        "counts": np.array([len(row.ids) for row in rows], np.int32),
        "ids": np.concatenate([row.ids for row in rows]),
    }


def _row_results(
    compute: Callable[[list[int]], Iterable[Row]], rows: list[int], failed: dict[int, Exception]
) -> dict[int, Row]:
    """Row → its result. If a batch fails, each row is computed alone; errors go into `failed`."""
    try:
        return dict(zip(rows, compute(rows)))
    except Exception as error:
        if processes.is_for_memory(error):
            raise
    results: dict[int, Row] = {}
    for row in rows:
        try:
            [results[row]] = compute([row])
        except Exception as error:
            if processes.is_for_memory(error):
                raise
            failed[row] = error
    return results


def _encoded(model: TorchModel, job: Job, rows: list[int]) -> Iterable[Row]:
    """float32 embeddings [rows, dim], or scores; or the vectors of each text."""
    from sentence_transformers import MultiVectorEncoder, SparseEncoder

    texts = [job.texts[row] for row in rows]
    size = job.batch_size if job.batches is None else len(rows)
    options: dict[str, Any] = {"prompt": job.prompt, "batch_size": size, "show_progress_bar": False}
    if job.strips:
        texts, options["prompt"] = [(job.prompt + text).strip() for text in texts], ""
    if job.pairs is not None:
        pairs = [job.pairs[row] for row in rows]
        return np.asarray(model.predict([*zip(texts, pairs)], **options), np.float32)
    if job.task:
        options["task"] = job.task
    if job.tokens or isinstance(model, MultiVectorEncoder):
        return [_vectors(row) for row in model.encode(texts, output_value=None, **options)]
    if isinstance(model, SparseEncoder):
        return np.asarray(
            model.encode(texts, convert_to_sparse_tensor=False, **options).to_dense(), np.float32
        )
    return np.asarray(model.encode(texts, **options), np.float32)


def _vectors(features: dict[str, Any]) -> Vectors:
    """The vectors that count, of the features of a text."""
    counts = features["attention_mask"].bool()
    vectors = features["token_embeddings"][counts].float().numpy()
    return Vectors(vectors, features["input_ids"][counts].numpy().astype(np.int32))


def _answers_of_ids(folder: str, loaders: list[str], batches: list[Arrays]) -> list[Answer]:
    """The answer to each batch of token ids. Only one class at a time is in memory."""
    results: dict[int, Answer] = {}
    for loader in dict.fromkeys(loaders):
        model = _transformers_model(folder, loader)
        answers = {
            index: answer_of_ids(model, batch, layers=loader == "AutoModel")
            for index, batch in enumerate(batches)
            if loaders[index] == loader
        }
        if not any(answer.arrays for answer in answers.values()):
            raise RuntimeError(
                next(reason for answer in answers.values() for reason in answer.failed.values())
            )
        results.update(answers)
    return [results[index] for index in range(len(batches))]


def _transformers_model(folder: str, loader: str) -> TorchModel:
    import torch
    import transformers

    options = {
        "local_files_only": True,
        "dtype": torch.float32,
        "trust_remote_code": False,
        **_OWN_CHOICE,
    }
    return getattr(transformers, loader).from_pretrained(folder, **options).eval()


def answer_of_ids(model: TorchModel, batch: Arrays, layers: bool) -> Answer:
    """The outputs for a batch of token ids.

    `layers`: all hidden states and the pooled output, of a model without a head. Otherwise only the
    logits: the hidden states of many texts would fill the memory.
    """
    if layers:
        return Answer(_computed(model, batch, layers=True), {})
    failed: dict[int, Exception] = {}

    def logits(rows: list[int]) -> np.ndarray:
        return _computed(model, {name: array[rows] for name, array in batch.items()}, layers=False)[
            "logits"
        ]

    rows = _row_results(logits, list(range(len(batch["input_ids"]))), failed)
    arrays = {"logits": np.stack([rows[row] for row in sorted(rows)])} if rows else {}
    return Answer(arrays, {row: one_line(error) for row, error in failed.items()})


def _computed(model: TorchModel, batch: Arrays, layers: bool) -> Arrays:
    import torch

    inputs = {name: torch.from_numpy(array.astype(np.int64)) for name, array in batch.items()}
    with torch.no_grad():
        result = model(**inputs, output_hidden_states=layers)
    arrays: Arrays = {}
    if layers:
        arrays["hidden_states"] = np.stack([layer.numpy() for layer in result.hidden_states])
    for name in ("pooler_output", "logits"):
        if getattr(result, name, None) is not None:
            arrays[name] = result[name].numpy()
    return arrays
