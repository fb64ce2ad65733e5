"""The reference: sentence-transformers or transformers, in float32 on the CPU, in its own process.

This module starts the process and defines the requests and answers, and how both are written.
`reference_process.py` runs in the process.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tf_exporter.model.reference import processes
from tf_exporter.model.reference.scratch import scratch_folder

PATIENCE = 900.0
"""Seconds that the reference may take to load a model, for any request."""
_PROCESS = "tf_exporter.verification.reference_process"
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Job:
    """Texts to encode after a prompt, or pairs of texts to score, with sentence-transformers."""

    texts: list[str]
    prompt: str
    batch_size: int
    task: str = ""
    """The `task` of `encode`; "": none."""
    pairs: list[str] | None = None
    """The second text of each pair."""
    batches: list[list[int]] | None = None
    """The rows of each batch; None: batches of `batch_size` texts, in order of length."""
    seconds: float = 0.0
    """The time that the job may take."""
    adapter: str = ""
    """The folder of the adapter that changes the model's weights; "": none."""
    tokens: bool = False
    """Whether the vectors of all tokens are asked for, not the embedding."""
    strips: bool = False
    """Whether texts are stripped, after the prompt, of white space at both ends."""


@dataclass(frozen=True)
class IdsJob:
    """A batch of token ids to compute with transformers."""

    loader: str
    """The class that loads the model.

    "AutoModel" gives `hidden_states`, [layers, batch, length, hidden], and `pooler_output`; a class
    with a head gives `logits`.
    """
    inputs: Arrays
    """`input_ids`, `attention_mask` and, if the model has segments, `token_type_ids`.

    int32 [batch, length] each.
    """
    seconds: float = 0.0
    """The time that the job may take."""


class Answer(NamedTuple):
    """The reference's answer to a job."""

    arrays: Arrays
    """Name → array, of the rows that the reference can compute, in order."""
    failed: dict[int, str]
    """Row that the reference cannot compute → its error."""

    @property
    def values(self) -> np.ndarray:
        """The answer to a `Job`: float32 embeddings [texts, dim], or scores.

        For a multi-vector model: the vectors of all texts, [vectors, dim]. `counts` int32 [texts]
        has the number of each text's vectors, and `ids` int32 [vectors] those of their tokens.
        """
        return self.arrays["values"]


class Loading(NamedTuple):
    """How the reference loads a model of sentence-transformers."""

    kind: str
    """Its class in sentence-transformers: one of `names.KINDS`."""
    truncate_dim: int | None = None
    max_seq_length: int | None = None
    """Replaces the model's own limit, if not None."""


class Reference:
    """A running reference process for one model folder.

    Args:
        folder: the model.
        package: "sentence_transformers" or "transformers", which the process imports.
        waits: whether the graph must not be loaded before the process has ended.
        renamed: regular expressions for names of tensors → the names that the package has.
    """

    def __init__(
        self,
        folder: Path,
        package: str,
        waits: bool = False,
        renamed: Mapping[str, str] | None = None,
    ):
        self.waits = waits
        self._package = package.replace("_", "-")
        self._stack = ExitStack()
        scratch = self._stack.enter_context(scratch_folder())
        arguments = {"model": str(folder), "package": package, "renamed": dict(renamed or {})}
        self._process = processes.start(_PROCESS, arguments, scratch)
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._output: Future[bytes] | None = None

    def submit(self, jobs: Sequence[Job | IdsJob], loading: Loading | None = None) -> None:
        """Sends the only request, without waiting for the answer. A `Job` needs `loading`."""
        header = {
            "loading": loading,
            "jobs": [
                asdict(job) if isinstance(job, Job) else {"loader": job.loader} for job in jobs
            ],
        }
        request = packed(header, [job.inputs if isinstance(job, IdsJob) else {} for job in jobs])
        seconds = PATIENCE + sum(job.seconds for job in jobs)
        self._output = self._thread.submit(
            processes.finished, self._process, request, self._package, seconds
        )

    def wait(self) -> None:
        """Waits until the process has answered and ended, which frees its memory.

        Raises:
            VerificationError: the reference failed, with its own error.
        """
        assert self._output is not None, "nothing was submitted"
        self._output.result()

    def answers(self) -> tuple[list[Answer], dict[str, str]]:
        """The answer to each job, and the versions of the packages. Ends the process.

        Raises:
            VerificationError: the reference failed, with its own error.
        """
        assert self._output is not None, "nothing was submitted"
        header, arrays = unpacked(self._output.result())
        failures = [
            {int(row): reason for row, reason in failed.items()} for failed in header["failed"]
        ]
        return [Answer(*pair) for pair in zip(arrays, failures)], header["versions"]

    def close(self) -> None:
        """Ends the process if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        if self._output is None:
            self._process.communicate()
        self._thread.shutdown()
        self._stack.close()


def packed(header: Mapping[str, Any], jobs: Sequence[Arrays]) -> bytes:
    """A request or an answer as bytes: the header in JSON, and the arrays of each job."""
    archive = io.BytesIO()
    arrays = {
        f"{index}/{name}": array for index, job in enumerate(jobs) for name, array in job.items()
    }
    text = json.dumps({**header, "count": len(jobs)})
    np.savez(archive, header=np.array(text), **arrays)  # type: ignore[arg-type]  # str keys
    return archive.getvalue()


def unpacked(data: bytes) -> tuple[dict[str, Any], list[Arrays]]:
    """The header and the arrays of each job (possibly none), from the bytes of `packed`."""
    with np.load(io.BytesIO(data)) as archive:
        header = json.loads(str(archive["header"]))
        jobs: list[Arrays] = [{} for _ in range(header["count"])]
        for key in archive.files:
            index, _, name = key.partition("/")
            if name:
                jobs[int(index)][name] = archive[key]
    return header, jobs
