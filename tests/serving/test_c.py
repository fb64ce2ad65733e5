"""`examples/c`: TensorFlow's C++ loader, which servers share, through its C API."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.serving.conftest import Served, needs

SOURCE = Path(__file__).parents[2] / "examples" / "c" / "embed.c"


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled, and linked with the wheel's TensorFlow."""
    needs("gcc")
    path = tmp_path_factory.mktemp("c") / "embed"
    library = Path(tf.sysconfig.get_lib())
    command = ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", str(SOURCE), f"-I{tf.sysconfig.get_include()}", f"-L{library}"]
    command += ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2", f"-Wl,-rpath,{library}", "-o", str(path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return path


def tensors(folder: Path, signature: str) -> tuple[str, str]:
    """The names of a signature's input and output, as `saved_model_cli show` has them."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    found = saved.meta_graphs[0].signature_def[signature]
    return found.inputs["input_sequence"].name, found.outputs["sentence_embedding"].name


def run(program: Path, folder: Path, names: tuple[str, str], texts: list[bytes]) -> np.ndarray:
    result = subprocess.run([program, folder, *names], input=b"".join(text + b"\n" for text in texts), capture_output=True)
    assert result.returncode == 0, result.stderr.decode()
    return np.array([[float(value) for value in line.split()] for line in result.stdout.splitlines()], np.float32)


@pytest.mark.serving
@pytest.mark.parametrize("signature", ["serving_default", "encode_query", "encode_document"])
def test_same_embeddings(program: Path, served: Served, signature: str) -> None:
    """All texts that are a line, with NUL and bytes that are not UTF-8 among them."""
    lines = [row for row, text in enumerate(served.texts) if b"\n" not in text]
    found = run(program, served.folder, tensors(served.folder, signature), [served.texts[row] for row in lines])
    expected = served.expected[signature][lines]
    assert found.shape == expected.shape and len(found) >= 150
    assert np.abs(found - expected).max() <= 1e-5


@pytest.mark.serving
def test_errors(program: Path, served: Served, tmp_path: Path) -> None:
    names = tensors(served.folder, "serving_default")
    result = subprocess.run([program, tmp_path, *names], capture_output=True, text=True)
    assert result.returncode == 1 and "load:" in result.stderr
    result = subprocess.run([program, served.folder, "nothing:0", names[1]], capture_output=True, text=True)
    assert result.returncode == 1 and "nothing:0: no such tensor" in result.stderr
