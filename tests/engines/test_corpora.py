"""`examples/spark` and `examples/beam`: 20,000 texts, killed workers, restarted programs."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.engines.conftest import Served, needs
from tf_exporter.artifact.publish import MANIFEST
from tf_exporter.verification.sample_texts import words

pytestmark = [pytest.mark.engines, pytest.mark.slow]
EXAMPLES = Path(__file__).parents[2] / "examples"
ROWS = 20_000


@dataclass(frozen=True)
class Corpus:
    """A Parquet file of texts, and the embeddings that one process computes."""

    path: Path
    ids: list[int]
    texts: list[str | None]
    expected: dict[int, np.ndarray]


@pytest.fixture(scope="module")
def corpus(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """20,000 rows, 20 of them without a text."""
    pa = pytest.importorskip(
        "pyarrow", reason="pyarrow is not installed; make test-engines does that"
    )
    import pyarrow.parquet as pq

    random_ = random.Random(11)
    ids = random_.sample(range(10**9), ROWS)
    texts: list[str | None] = [words(random_, random_.randint(0, 12)) for _ in ids]
    for row in range(0, ROWS, 1000):
        texts[row] = None
    path = tmp_path_factory.mktemp("corpus") / "texts.parquet"
    pq.write_table(
        pa.table({"id": pa.array(ids, pa.int64()), "text": texts}), path, row_group_size=1000
    )
    model = tf.saved_model.load(str(served.folder))
    there = [(id_, text) for id_, text in zip(ids, texts) if text is not None]
    embeddings = np.concatenate(
        [
            model(tf.constant([t for _, t in there[i : i + 512]])).numpy()
            for i in range(0, len(there), 512)
        ]
    )
    return Corpus(path, ids, texts, {id_: row for (id_, _), row in zip(there, embeddings)})


def check(corpus: Corpus, output: Path) -> None:
    """Checks that the output has every row once, with its embedding."""
    import pyarrow.dataset as ds

    table = ds.dataset(
        output, format="parquet", partitioning="hive", exclude_invalid_files=False
    ).to_table()
    ids = table["id"].to_pylist()
    assert len(ids) == ROWS and set(ids) == set(corpus.ids)
    worst = 0.0
    for id_, embedding in zip(ids, table["embedding"].to_pylist()):
        if embedding is None:
            assert id_ not in corpus.expected
        else:
            worst = max(
                worst, float(np.abs(np.array(embedding, np.float32) - corpus.expected[id_]).max())
            )
    assert worst <= 1e-5


def finished(output: Path) -> int:
    return len(list(output.glob("chunk=*/_SUCCESS")))


def start(command: list[str], place: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Starts a process group, so that it can be killed as a whole; it writes to `place/log`."""
    with (place / "log").open("wb") as log:
        return subprocess.Popen(
            command, env=environment, cwd=place, stdout=log, stderr=log, start_new_session=True
        )


def wait_for(process: subprocess.Popen[bytes], output: Path, chunks: int) -> None:
    """Waits until this many chunks are finished."""
    started = time.monotonic()
    while finished(output) < chunks:
        assert process.poll() is None and time.monotonic() - started < 240, (
            "the program ended or is too slow"
        )
        time.sleep(0.05)


def check_restart(
    command: list[str], place: Path, environment: dict[str, str], corpus: Corpus, chunks: int
) -> None:
    """A restart computes only the missing chunks; with another model it fails."""
    output = place / "out"
    done = {path: path.stat().st_mtime_ns for path in output.glob("chunk=*/_SUCCESS")}
    assert 0 < len(done) < chunks

    def again(command: list[str]) -> tuple[int, str]:
        result = subprocess.run(command, env=environment, cwd=place, capture_output=True, text=True)
        # spark-submit writes the program's output to standard output, Python to standard error.
        return result.returncode, result.stdout + result.stderr

    code, said = again(command)
    assert code == 0 and f"{chunks}/{chunks}" in said, said[-4000:]
    assert all(path.stat().st_mtime_ns == time_ for path, time_ in done.items())
    check(corpus, output)
    [model] = [part for part in command if Path(part, MANIFEST).is_file()]
    changed = shutil.copytree(model, place / "changed")
    (changed / MANIFEST).write_text((changed / MANIFEST).read_text() + "\n")
    code, said = again([str(changed) if part == model else part for part in command])
    assert code != 0 and "was started with" in said, said[-4000:]


def spark(served: Served, corpus: Corpus, output: Path, *options: str) -> list[str]:
    """The spark-submit command, on a cluster of two executors with one core each."""
    needs("java")
    pytest.importorskip("pyspark", reason="pyspark is not installed; make test-engines does that")
    import pyspark

    home = Path(pyspark.__file__).parent
    submit = [str(home / "bin/spark-submit"), "--master", "local-cluster[2,1,1024]"]
    configuration = [
        "spark.ui.enabled=false",
        "spark.executor.memory=512m",
        "spark.sql.shuffle.partitions=4",
    ]
    for entry in configuration:
        submit += ["--conf", entry]
    submit += [
        "--py-files",
        str(EXAMPLES / "spark/embedder.py"),
        str(EXAMPLES / "spark/embed_with_spark.py"),
    ]
    return [*submit, str(served.folder), str(corpus.path), str(output), *options]


def spark_environment() -> dict[str, str]:
    import pyspark

    return {
        **os.environ,
        "SPARK_HOME": str(Path(pyspark.__file__).parent),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


def executors(program: int) -> list[int]:
    """The process ids of a program's executors."""

    def is_one(pid: int) -> bool:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            return b"CoarseGrainedExecutorBackend" in command and os.getpgid(pid) == program
        except (FileNotFoundError, ProcessLookupError):
            return False

    return [
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdecimal() and is_one(int(path.name))
    ]


def test_spark(served: Served, corpus: Corpus, tmp_path: Path) -> None:
    """One executor is killed, then the whole program, which is restarted."""
    output = tmp_path / "out"
    command = spark(served, corpus, output, "--chunks", "6")
    process = start(command, tmp_path, spark_environment())
    try:
        wait_for(process, output, 1)
        assert len(executors(process.pid)) == 2
        os.kill(executors(process.pid)[0], signal.SIGKILL)
        wait_for(process, output, 3)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    check_restart(command, tmp_path, spark_environment(), corpus, 6)


def test_beam(served: Served, corpus: Corpus, tmp_path: Path) -> None:
    """The program is killed and restarted."""
    pytest.importorskip(
        "apache_beam", reason="apache-beam is not installed; make test-engines does that"
    )
    output = tmp_path / "out"
    command = [
        sys.executable,
        str(EXAMPLES / "beam/embed_with_beam.py"),
        str(served.folder),
        str(corpus.path),
        str(output),
    ]
    command += ["--chunks", "4", "--runner", "FnApiRunner"]
    process = start(command, tmp_path, dict(os.environ))
    try:
        wait_for(process, output, 2)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    check_restart(command, tmp_path, dict(os.environ), corpus, 4)
