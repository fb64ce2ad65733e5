"""The command's standard streams: closed, full, broken, ASCII; the exit code gives the result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures import models

_COMMAND = """
import os, sys
from pathlib import Path
from tf_exporter import InputError, cli
import importlib
module = importlib.import_module("tf_exporter.convert")

def convert(model, output_dir, **options):
    module.logger.info("reading %s", model)
    with module.silenced_stderr():
        os.write(2, b"a greeting")
    if model == "bad":
        raise InputError(f"{model}: bad")
    # The number of a standard stream that was closed is not given to a file.
    with open(os.devnull, "rb") as file:
        assert file.fileno() > 2
    return module.Conversion(Path(output_dir), Path(output_dir), {}, {}, ["Verified."])

module.convert = convert
sys.exit(cli.main(sys.argv[1:]))
"""
"""The command, with a stand-in for the conversion itself."""


def run(shell: str, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error; `shell` is appended to the command."""
    line = f'"$0" -c "$CODE" "$@" {shell}'
    result = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", line, sys.executable, *arguments],
        env={**os.environ, "CODE": _COMMAND, **environment},
        capture_output=True,
        check=False,
    )
    return (
        result.returncode,
        result.stdout.decode(errors="replace"),
        result.stderr.decode(errors="replace"),
    )


def test_open_streams() -> None:
    assert run("", "good", "/out") == (0, "Verified.\nSaved to /out\n", "reading good\n")
    assert run("", "bad", "/out") == (5, "", "reading bad\nconvert-hf-model: bad: bad\n")
    assert run("", "good", "/out", "--quiet") == (0, "", "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_few_characters(encoding: str) -> None:
    said = run("", "ü文", "/ö文", PYTHONIOENCODING=f"{encoding}:strict")
    assert said[0] == 0 and "\\u6587" in said[1] and "\\u6587" in said[2]
    code, printed, _ = run("", "--help", PYTHONIOENCODING="ascii")
    assert code == 0 and "--verify" in printed


def test_full_disk() -> None:
    assert run(">/dev/full", "good", "/out") == (0, "", "reading good\n")
    assert run("2>/dev/full", "good", "/out") == (0, "Verified.\nSaved to /out\n", "")
    assert run(">/dev/full 2>&1", "good", "/out") == (0, "", "")
    assert run("2>/dev/full", "bad", "/out")[0] == 5
    assert run(">/dev/full", "--help") == (0, "", "")


def test_closed() -> None:
    assert run("<&- >&- 2>&-", "good", "/out") == (0, "", "")
    assert run("2>&-", "good", "/out") == (0, "Verified.\nSaved to /out\n", "")
    assert run(">&-", "good", "/out") == (0, "", "reading good\n")
    assert run("2>&-", "bad", "/out")[0] == 5


def test_nobody_reads() -> None:
    assert run("| true", "good", "/out") == (0, "", "reading good\n")
    assert run("2> >(true)", "bad", "/out")[0] == 5


@pytest.mark.parametrize(
    "locale", [{}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}]
)
def test_paths_that_are_not_utf8(tmp_path: Path, locale: dict[str, str]) -> None:
    """Such a path holds no model, and TensorFlow cannot write to it."""
    folder = os.fsencode(tmp_path) + (b"/\xff\xfe" if not locale else "/ö".encode())
    os.mkdir(folder)
    command = [sys.executable, "-m", "tf_exporter.cli"]
    for arguments, code in (([folder, b"out"], 5), ([os.fsencode(tmp_path), folder + b"/out"], 2)):
        result = subprocess.run(
            [*command, *arguments],
            cwd=tmp_path,
            env={**os.environ, **locale},
            capture_output=True,
            check=False,
        )
        assert result.returncode == code, result.stderr
        assert (
            result.stderr.splitlines()[-1].startswith(b"convert-hf-model: ")
            and b"UTF-8" in result.stderr
        )
        assert b"Traceback" not in result.stderr


@pytest.mark.slow
def test_real_conversion(tmp_path: Path) -> None:
    model = models.write_model(tmp_path / "modèle")
    command = f'"$0" -m tf_exporter.cli {model} {tmp_path}/öut --verify off <&- 2>&- | head -c 1'
    result = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", command, sys.executable],
        capture_output=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert (tmp_path / "öut/saved_model.pb").is_file()
