"""The reference, in a process of its own: what sentence-transformers makes of given texts, in float32 on the CPU.

A process of its own, because torch's and TensorFlow's copies of LLVM abort when they meet in one process, and so that
its memory is given back. `main` is that process: it loads the model while the graph is built elsewhere, waits for the request
on its standard input, and answers on its standard output.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tf_exporter.errors import VerificationError

REQUIRED = ("torch", "sentence_transformers")

_START = """
import importlib, sys
sys.path = [path for path in sys.path if path] + sys.argv[1:2]
importlib.import_module(sys.argv[2]).main(sys.argv[3])
"""
"""Without the current folder, which Python would search first: it may hold anybody's torch.py."""


@dataclass(frozen=True)
class Job:
    """Texts to encode behind a prompt, or pairs of texts to score."""

    texts: list[str]
    prompt: str
    batch_size: int
    task: str = ""
    pairs: list[str] | None = None
    """The second text of each pair."""


def missing_packages() -> list[str]:
    """What is not installed of the packages the reference needs."""
    return [name for name in REQUIRED if importlib.util.find_spec(name) is None]


def start(module: str, options: dict[str, Any]) -> subprocess.Popen[bytes]:
    """A process that runs `main` of a module of this package, with the options as JSON."""
    return subprocess.Popen(
        [sys.executable, "-c", _START, str(Path(__file__).parents[1]), module, json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def check_ended(process: subprocess.Popen[bytes], log: bytes, package: str) -> None:
    """Raises a `VerificationError` where a process of the reference failed, with the last line it printed."""
    if process.returncode:
        lines = log.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"]
        raise VerificationError(f"the reference, {package}, cannot run this model: {lines[-1]}")


@contextmanager
def answering() -> Iterator[BinaryIO]:
    """Where a process of the reference writes its arrays; whatever libraries print goes to standard error meanwhile."""
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)
        yield output


class Reference:
    """A running reference process for one model folder."""

    def __init__(self, folder: Path, kind: str, max_seq_length: int | None, truncate_dim: int | None, waits: bool = False):
        """`kind`: the class of sentence-transformers that loads it; `waits`: do not load the model before jobs are submitted."""
        self.waits = waits
        self._options = {"model": str(folder), "kind": kind, "max_seq_length": max_seq_length, "truncate_dim": truncate_dim}
        self._process = None if waits else self._start()
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._output: Future[tuple[bytes, bytes]] | None = None

    def _start(self) -> subprocess.Popen[bytes]:
        return start(__name__, self._options)

    def submit(self, jobs: list[Job]) -> None:
        """Sends the only request; the process works on it from now on."""
        request = json.dumps([asdict(job) for job in jobs]).encode()
        self._process = self._process or self._start()
        self._output = self._thread.submit(self._process.communicate, request)

    def answers(self) -> tuple[list[np.ndarray], dict[str, str]]:
        """float32 [texts, dim] for each job, and the versions of the packages. Ends the process.

        Raises:
            VerificationError: the reference failed, with the last line it printed.
        """
        assert self._output is not None, "nothing was submitted"
        answers, log = self._output.result()
        if self._process is not None:
            check_ended(self._process, log, "sentence-transformers")
        with np.load(io.BytesIO(answers)) as arrays:
            versions = json.loads(str(arrays["versions"]))
            return [arrays[f"job_{index}"] for index in range(len(arrays) - 1)], versions

    def close(self) -> None:
        """Ends the process if it still runs."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            if self._output is None:
                self._process.communicate()
        self._thread.shutdown()


def load(folder: str, kind: str, max_seq_length: int | None, truncate_dim: int | None) -> Any:
    """The model in sentence-transformers, in float32 on the CPU."""
    import sentence_transformers
    import torch

    options = {"truncate_dim": truncate_dim} if truncate_dim is not None else {}
    model = getattr(sentence_transformers, kind)(
        folder, device="cpu", local_files_only=True, model_kwargs={"dtype": torch.float32}, **options
    )
    # Modules that are no transformers model keep the type of their file.
    model = model.float()
    if max_seq_length is not None:
        model.max_seq_length = max_seq_length
        # The user's limit goes before the module's own as well, as it does in the graph.
        for module in model.modules():
            getattr(module, "processing_kwargs", {}).get("text", {}).pop("max_length", None)
    return model


def answer(model: Any, job: Job) -> np.ndarray:
    """float32 embeddings [texts, dim], or scores."""
    options: dict[str, Any] = {"prompt": job.prompt, "batch_size": job.batch_size, "show_progress_bar": False}
    if job.pairs is not None:
        return np.asarray(model.predict([*zip(job.texts, job.pairs)], **options), np.float32)
    if job.task:
        options["task"] = job.task
    if hasattr(model, "max_active_dims"):
        return np.asarray(model.encode(job.texts, convert_to_sparse_tensor=False, **options).to_dense(), np.float32)
    return np.asarray(model.encode(job.texts, **options), np.float32)


def main(arguments: str) -> None:
    """The reference process; `arguments` is a JSON object."""
    options = json.loads(arguments)
    with answering() as output:
        import sentence_transformers
        import torch

        model = load(options["model"], options["kind"], options["max_seq_length"], options["truncate_dim"])
        answers = {f"job_{index}": answer(model, Job(**job)) for index, job in enumerate(json.load(sys.stdin.buffer))}
        versions = {"sentence-transformers": sentence_transformers.__version__, "torch": torch.__version__}
        archive = io.BytesIO()
        np.savez(archive, versions=np.array(json.dumps(versions)), **answers)  # type: ignore[arg-type]  # str keys
        output.write(archive.getvalue())
