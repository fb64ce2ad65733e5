"""`examples/java`: TensorFlow on the JVM, with the example's own tests and its output."""

from __future__ import annotations

import platform
import re
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.engines.conftest import Served, needs

PROJECT = Path(__file__).parents[2] / "examples" / "java"
# Without it Maven fetches TensorFlow's libraries of all platforms.
PLATFORM = f"-Djavacpp.platform={platform.system().lower()}-{platform.machine()}"


def write_cases(served: Served, path: Path) -> None:
    """Writes the input of `TextEmbedderTest`: counts, lengths and floats, big-endian."""
    with path.open("wb") as file:

        def count(number: int) -> None:
            file.write(struct.pack(">i", number))

        count(len(served.texts))
        for text in served.texts:
            count(len(text))
            file.write(text)
        count(len(served.expected))
        for name, rows in served.expected.items():
            count(len(name.encode()))
            file.write(name.encode())
            count(rows.shape[1])
            file.write(rows.astype(">f4").tobytes())


def needs_maven() -> None:
    """Skips the test where Maven or its downloaded packages are missing."""
    needs("mvn", "java")
    if not (Path.home() / ".m2/repository/org/tensorflow/tensorflow-core-native").is_dir():
        pytest.skip("TensorFlow for the JVM is not installed; make test-engines does that")


def maven(target: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Maven without a network; the build goes into `target`."""
    command = [
        "mvn",
        "--batch-mode",
        "--quiet",
        "--offline",
        "-Dstyle.color=never",
        f"-DbuildDirectory={target}",
        PLATFORM,
        *arguments,
    ]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


@pytest.mark.engines
@pytest.mark.parametrize("artifact", ["served", "joined"])
def test_same_embeddings(artifact: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Hostile texts, singly in 64 threads and in batches in 8: TextEmbedderTest."""
    needs_maven()
    served: Served = request.getfixturevalue(artifact)
    write_cases(served, tmp_path / "cases")
    result = maven(
        tmp_path / "target", "test", f"-Dmodel={served.folder}", f"-Dcases={tmp_path / 'cases'}"
    )
    assert result.returncode == 0, result.stdout + result.stderr
    report = (tmp_path / "target/surefire-reports/TEST-tfexporter.TextEmbedderTest.xml").read_text()
    assert 'tests="7"' in report and 'skipped="0"' in report


@pytest.mark.engines
def test_wrong_embeddings_are_noticed(served: Served, tmp_path: Path) -> None:
    needs_maven()
    wrong = {name: rows + 2e-5 for name, rows in served.expected.items()}
    write_cases(replace(served, expected=wrong), tmp_path / "cases")
    result = maven(
        tmp_path / "target", "test", f"-Dmodel={served.folder}", f"-Dcases={tmp_path / 'cases'}"
    )
    assert result.returncode != 0
    assert "embeddingsAreThoseOfTheConversion" in result.stdout


@pytest.mark.engines
def test_what_it_prints(served: Served, tmp_path: Path) -> None:
    needs_maven()
    result = maven(tmp_path / "target", "compile", "exec:java", f"-Dexec.args={served.folder}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(re.findall(r"\d  .{40}(?: +-?\d\.\d{3}){4}$", result.stdout, re.MULTILINE)) == 4
