"""The reference, in a process of its own: what sentence-transformers makes of given texts, in float32 on the CPU.

A process of its own, because torch's and TensorFlow's copies of LLVM abort when they meet in one process, and so that
its memory is given back. `python -m tf_exporter.reference REQUEST ANSWERS` is that process: it loads the model while the
graph is built elsewhere, then waits for the requests on its standard input.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tf_exporter.errors import VerificationError

REQUIRED = ("torch", "sentence_transformers")


@dataclass(frozen=True)
class Job:
    """Texts to encode behind a prompt."""

    texts: list[str]
    prompt: str
    batch_size: int


def missing_packages() -> list[str]:
    """What is not installed of the packages the reference needs."""
    return [name for name in REQUIRED if importlib.util.find_spec(name) is None]


class Reference:
    """A running reference process for one model folder."""

    def __init__(self, folder: Path, max_seq_length: int | None, truncate_dim: int | None):
        self._scratch = tempfile.TemporaryDirectory(prefix="tf_exporter_")
        self._answers = Path(self._scratch.name) / "answers.npz"
        self._log = (Path(self._scratch.name) / "log").open("w+b")
        options = {"model": str(folder), "max_seq_length": max_seq_length, "truncate_dim": truncate_dim}
        self._jobs = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tf_exporter.reference", json.dumps(options), str(self._answers)],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
        )

    def submit(self, jobs: list[Job]) -> None:
        """Sends the only request; the process works on it from now on."""
        assert self._process.stdin is not None
        self._jobs = len(jobs)
        # A process that died already is told of by `answers`.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps([asdict(job) for job in jobs]).encode())
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def answers(self) -> tuple[list[np.ndarray], dict[str, str]]:
        """float32 [texts, dim] for each job, and the versions of the packages. Ends the process.

        Raises:
            VerificationError: the reference failed, with the last line it printed.
        """
        if self._process.wait():
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").strip().splitlines() or ["no output"]
            raise VerificationError(f"the reference, sentence-transformers, cannot run this model: {lines[-1]}")
        with np.load(self._answers) as answers:
            versions = json.loads(str(answers["versions"]))
            return [answers[f"job_{index}"] for index in range(self._jobs)], versions

    def close(self) -> None:
        """Ends the process if it still runs, and removes its files."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._log.close()
        self._scratch.cleanup()


def main() -> None:
    """The reference process."""
    options = json.loads(sys.argv[1])
    import sentence_transformers
    import torch

    model = sentence_transformers.SentenceTransformer(
        options["model"],
        device="cpu",
        local_files_only=True,
        truncate_dim=options["truncate_dim"],
        model_kwargs={"dtype": torch.float32},
    )
    if options["max_seq_length"] is not None:
        model.max_seq_length = options["max_seq_length"]
    answers = {}
    for index, job in enumerate(json.load(sys.stdin.buffer)):
        embeddings = model.encode(
            job["texts"], prompt=job["prompt"], batch_size=job["batch_size"], show_progress_bar=False
        )
        answers[f"job_{index}"] = np.asarray(embeddings, np.float32)
    versions = {"sentence-transformers": sentence_transformers.__version__, "torch": torch.__version__}
    np.savez(sys.argv[2], versions=np.array(json.dumps(versions)), **answers)  # type: ignore[arg-type]  # str keys


if __name__ == "__main__":
    main()
