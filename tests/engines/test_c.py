"""`examples/c`: TensorFlow's C++ loader, which servers use too, through its C API."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.engines.conftest import Served, needs
from tf_exporter.artifact.publish import MANIFEST

SOURCE = Path(__file__).parents[2] / "examples" / "c" / "embed.c"


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled example, linked with the TensorFlow of the wheel."""
    needs("gcc")
    path = tmp_path_factory.mktemp("c") / "embed"
    library = Path(tf.sysconfig.get_lib())
    command = [
        "gcc",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        str(SOURCE),
        f"-I{tf.sysconfig.get_include()}",
        f"-L{library}",
    ]
    command += [
        "-l:libtensorflow_cc.so.2",
        "-l:libtensorflow_framework.so.2",
        f"-Wl,-rpath,{library}",
        "-o",
        str(path),
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return path


def tensors(folder: Path, signature: str, output: str) -> tuple[str, str]:
    """The names of a signature's input and output tensors in the manifest."""
    entries = json.loads((folder / MANIFEST).read_text())["tensors"][signature]
    return entries["inputs"]["input_sequence"]["name"], entries["outputs"][output]["name"]


def run(
    program: Path, folder: Path, names: tuple[str, str], texts: list[bytes], batch: int = 32
) -> list[np.ndarray]:
    """A row of numbers for each text, from the program."""
    command = [str(program), str(folder), *names, str(batch)]
    result = subprocess.run(
        command, input=b"".join(text + b"\n" for text in texts), capture_output=True
    )
    assert result.returncode == 0, result.stderr.decode()
    return [np.array(line.split(), np.float32) for line in result.stdout.splitlines()]


@pytest.mark.engines
@pytest.mark.parametrize("signature", ["serving_default", "encode_query", "encode_document"])
def test_same_embeddings(program: Path, served: Served, signature: str) -> None:
    """All texts of one line, including NUL and invalid UTF-8."""
    lines = [row for row, text in enumerate(served.texts) if b"\n" not in text]
    texts = [served.texts[row] for row in lines]
    result = np.stack(
        run(program, served.folder, tensors(served.folder, signature, "sentence_embedding"), texts)
    )
    expected = served.expected[signature][lines]
    assert result.shape == expected.shape and len(result) >= 150
    assert np.abs(result - expected).max() <= 1e-5


@pytest.mark.engines
@pytest.mark.parametrize("batch", [1, 32, 100])
def test_joined_calls(program: Path, joined: Served, batch: int) -> None:
    """With `--request-batching`, through its queue, and with more texts than it takes."""
    lines = [row for row, text in enumerate(joined.texts) if b"\n" not in text]
    names = tensors(joined.folder, "encode_query", "sentence_embedding")
    texts = [joined.texts[row] for row in lines]
    result = np.stack(run(program, joined.folder, names, texts, batch))
    assert np.abs(result - joined.expected["encode_query"][lines]).max() <= 1e-5


@pytest.mark.engines
def test_errors(program: Path, served: Served, tmp_path: Path) -> None:
    names = tensors(served.folder, "serving_default", "sentence_embedding")
    result = subprocess.run([program, tmp_path, *names], capture_output=True, text=True)
    assert result.returncode == 1 and "load:" in result.stderr
    result = subprocess.run(
        [program, served.folder, "nothing:0", names[1]], capture_output=True, text=True
    )
    assert result.returncode == 1 and "nothing:0: no such tensor" in result.stderr
