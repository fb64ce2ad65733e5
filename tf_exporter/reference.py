"""The reference, in a process of its own: what sentence-transformers makes of given texts, in float32 on the CPU.

`main` is that process. It loads the libraries while the graph is built elsewhere. It opens the model when it gets the request on
its standard input, by when all of the model's files have been read and accepted; then it answers on its standard output.
"""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tf_exporter import processes
from tf_exporter.errors import one_line
from tf_exporter.scratch import scratch_folder

REQUIRED = ("torch", "sentence_transformers")
PATIENCE = 900.0
"""Seconds that the reference may take to load, whatever it is asked."""


@dataclass(frozen=True)
class Job:
    """Texts to encode behind a prompt, or pairs of texts to score."""

    texts: list[str]
    prompt: str
    batch_size: int
    task: str = ""
    pairs: list[str] | None = None
    """The second text of each pair."""
    batches: list[list[int]] | None = None
    """The rows of each batch, where they are planned; else `batch_size` of them, in order of length."""
    seconds: float = 0.0
    """How long it may take."""


class Answer(NamedTuple):
    """What the reference makes of a job."""

    values: np.ndarray
    """float32 [texts, dim], or scores, of those texts that it can encode, in order."""
    failed: dict[int, str]
    """Row of any other text → what it says of it."""


def missing_packages(needed: Sequence[str] | None = None) -> list[str]:
    """What is not installed of the packages that are needed: by default, those of sentence-transformers."""
    return [name for name in (REQUIRED if needed is None else needed) if importlib.util.find_spec(name) is None]


def not_installed(packages: list[str]) -> str:
    """What is said of packages that are missing, by the names that they are installed under."""
    names = [name.replace("_", "-") for name in packages]
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not installed"


class Reference:
    """A running reference process for one model folder."""

    def __init__(self, folder: Path, kind: str, truncate_dim: int | None, waits: bool = False):
        """`kind`: the class of sentence-transformers that loads it; `waits`: do not load the graph before it has ended."""
        self.waits = waits
        options = {"model": str(folder), "kind": kind, "truncate_dim": truncate_dim}
        self._stack = ExitStack()
        place = self._stack.enter_context(scratch_folder())
        self._process = processes.start(__name__, options, place)
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._output: Future[bytes] | None = None

    def submit(self, jobs: list[Job], max_seq_length: int | None) -> None:
        """Sends the only request; the process works on it from now on. `max_seq_length`: in place of the model's own."""
        request = json.dumps({"jobs": [asdict(job) for job in jobs], "max_seq_length": max_seq_length}).encode()
        seconds = PATIENCE + sum(job.seconds for job in jobs)
        self._output = self._thread.submit(processes.finished, self._process, request, "sentence-transformers", seconds)

    def answers(self) -> tuple[list[Answer], dict[str, str]]:
        """The answer to each job, and the versions of the packages. Ends the process.

        Raises:
            VerificationError: the reference failed, with what it says itself.
        """
        assert self._output is not None, "nothing was submitted"
        with np.load(io.BytesIO(self._output.result())) as arrays:
            told = json.loads(str(arrays["told"]))
            failures = [{int(row): reason for row, reason in failed.items()} for failed in told["failed"]]
            return [Answer(arrays[f"job_{index}"], failed) for index, failed in enumerate(failures)], told["versions"]

    def close(self) -> None:
        """Ends the process if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        if self._output is None:
            self._process.communicate()
        self._thread.shutdown()
        self._stack.close()


def load(folder: str, kind: str, max_seq_length: int | None, truncate_dim: int | None) -> Any:
    """The model in sentence-transformers, in float32 on the CPU."""
    import sentence_transformers
    import torch

    options: dict[str, Any] = {"truncate_dim": truncate_dim} if truncate_dim is not None else {}
    # None: transformers chooses by the class, torch's fused attention where there is one, whatever a config asks for.
    options["model_kwargs"] = {"dtype": torch.float32, "attn_implementation": None, "experts_implementation": None}
    options |= {"device": "cpu", "local_files_only": True, "trust_remote_code": False}
    model = getattr(sentence_transformers, kind)(folder, **options)
    # Modules that are no transformers model keep the type of their file.
    model = model.float()
    if max_seq_length is not None:
        model.max_seq_length = max_seq_length
        # The user's limit goes before the module's own as well, as it does in the graph.
        for module in model.modules():
            getattr(module, "processing_kwargs", {}).get("text", {}).pop("max_length", None)
    return model


def answer(model: Any, job: Job) -> np.ndarray:
    """float32 embeddings [texts, dim], or scores. Raises whatever the reference does of a text that it cannot encode."""
    found = answers_to(model, job)
    if found.failed:
        raise RuntimeError(f"not encoded: {found.failed}")
    return found.values


def answers_to(model: Any, job: Job) -> Answer:
    """What the reference makes of the texts that it can encode; which it cannot, and why.

    A batch that fails is tried again text by text.

    Raises:
        Exception: what the reference raises where it can encode no text, or where memory is short.
    """
    batches = job.batches or [list(range(len(job.texts)))]
    values: dict[int, np.ndarray] = {}
    failed: dict[int, Exception] = {}
    for rows in batches:
        try:
            values.update(zip(rows, _encoded(model, job, rows)))
        except Exception as error:
            if processes.is_for_memory(error):
                raise
            _encode_each(model, job, rows, values, failed)
    if failed and not values:
        raise failed[min(failed)]
    reasons = {row: one_line(failed[row]) for row in sorted(failed)}
    return Answer(np.stack([values[row] for row in sorted(values)]), reasons)


def _encode_each(model: Any, job: Job, rows: list[int], values: dict[int, np.ndarray], failed: dict[int, Exception]) -> None:
    """Adds to `values` and `failed` what becomes of each text by itself."""
    for row in rows:
        try:
            [values[row]] = _encoded(model, job, [row])
        except Exception as error:
            if processes.is_for_memory(error):
                raise
            failed[row] = error


def _encoded(model: Any, job: Job, rows: list[int]) -> np.ndarray:
    """float32 [rows, dim], or scores."""
    texts = [job.texts[row] for row in rows]
    size = job.batch_size if job.batches is None else len(rows)
    options: dict[str, Any] = {"prompt": job.prompt, "batch_size": size, "show_progress_bar": False}
    if job.pairs is not None:
        pairs = [job.pairs[row] for row in rows]
        return np.asarray(model.predict([*zip(texts, pairs)], **options), np.float32)
    if job.task:
        options["task"] = job.task
    if hasattr(model, "max_active_dims"):
        return np.asarray(model.encode(texts, convert_to_sparse_tensor=False, **options).to_dense(), np.float32)
    return np.asarray(model.encode(texts, **options), np.float32)


def main(arguments: str) -> None:
    """The reference process; `arguments` is a JSON object."""
    options = json.loads(arguments)
    with processes.answering() as output:
        import sentence_transformers
        import torch
        from transformers.utils import logging

        logging.disable_progress_bar()
        request = json.load(sys.stdin.buffer)
        jobs = [Job(**job) for job in request["jobs"]]
        model = load(options["model"], options["kind"], request["max_seq_length"], options["truncate_dim"])
        answers = [answers_to(model, job) for job in jobs]
        versions = {"sentence-transformers": sentence_transformers.__version__, "torch": torch.__version__}
        told = {"versions": versions, "failed": [found.failed for found in answers]}
        arrays = {f"job_{index}": found.values for index, found in enumerate(answers)}
        archive = io.BytesIO()
        np.savez(archive, told=np.array(json.dumps(told)), **arrays)  # type: ignore[arg-type]  # str keys
        output.write(archive.getvalue())
