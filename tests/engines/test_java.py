"""`examples/java`: the library for the JVM in a program, with its tests and its output."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.engines.conftest import Served, needs

PROJECT = Path(__file__).parents[2] / "examples" / "java"
# Without it Maven fetches TensorFlow's libraries of all platforms.
PLATFORM = f"-Djavacpp.platform={platform.system().lower()}-{platform.machine()}"


def needs_maven() -> None:
    """Skips the test where Maven or its downloaded packages are missing."""
    needs("mvn", "java")
    repository = Path.home() / ".m2/repository"
    for folder in ("org/tensorflow/tensorflow-core-native", "io/github/tf-exporter"):
        if not (repository / folder).is_dir():
            pytest.skip(f"{folder} is not installed; make test-engines does that")


def maven(
    target: Path, *arguments: str, project: Path = PROJECT
) -> subprocess.CompletedProcess[str]:
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
    return subprocess.run(command, cwd=project, capture_output=True, text=True)


@pytest.mark.engines
def test_the_page_of_the_library(served: Served, tmp_path: Path) -> None:
    """The Java of docs/jvm.md, in place of the example's program."""
    needs_maven()
    page = (PROJECT.parents[1] / "docs" / "jvm.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```java\n(.*?)```", page, re.DOTALL)
    imports, body = code.split("\n\n", 1)
    program = tmp_path / "program"
    shutil.copytree(PROJECT, program)
    (program / "src/main/java/tfexporter/Similarities.java").write_text(
        f"package tfexporter;\n{imports}\npublic class Similarities {{\n"
        f"public static void main(String[] arguments) {{\n{body}}}\n"
        "static double cosine(float[] a, float[] b) { return 0; }\n}\n"
    )
    (program / "all-MiniLM-L6-v2").symlink_to(served.folder)
    result = maven(tmp_path / "target", "compile", "exec:java", project=program)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.engines
def test_what_it_prints(served: Served, tmp_path: Path) -> None:
    needs_maven()
    result = maven(tmp_path / "target", "compile", "exec:java", f"-Dexec.args={served.folder}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(re.findall(r"\d  .{40}(?: +-?\d\.\d{3}){4}$", result.stdout, re.MULTILINE)) == 4
