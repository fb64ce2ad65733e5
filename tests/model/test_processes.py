"""The reference's process: its environment, its error messages, and its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tf_exporter import VerificationError

# Imported before a fixture replaces it with a fork.
from tf_exporter.model.reference.processes import _reason, finished, start

MODULE = "tests.support.reference_process"


def answer(place: Path, do: str, seconds: float = 60) -> Any:
    return json.loads(finished(start(MODULE, {"do": do}, place), b"request", "a library", seconds))


def test_its_temporary_files_have_a_place(tmp_path: Path) -> None:
    assert answer(tmp_path, "answers") == ["request", str(tmp_path), str(tmp_path)]


def test_no_current_folder_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, place = tmp_path / "gone", tmp_path / "place"
    gone.mkdir()
    place.mkdir()
    here = Path.cwd()
    monkeypatch.setenv("PYTHONPATH", "relative")
    monkeypatch.setattr(sys, "executable", os.path.abspath(sys.executable))
    os.chdir(gone)
    try:
        gone.rmdir()
        assert answer(place, "answers")[2] == str(place)
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    ("do", "words"),
    [
        ("fails", r"cannot run this model: ValueError: the shapes do not fit$"),
        ("runs out", r"ran out of memory: RuntimeError: .*can't allocate memory"),
        ("dies", r"cannot run this model: exit code -6$"),
    ],
)
def test_messages_of_failures(tmp_path: Path, do: str, words: str) -> None:
    with pytest.raises(VerificationError, match=f"the reference, a library, {words}"):
        answer(tmp_path, do)


def test_reasons() -> None:
    """Messages for processes that end without an explanation."""
    bar = "Loading weights: 100%|####| 9/9"
    assert (
        _reason(1, f"ImportError: no torch\n{bar}\n")
        == "cannot run this model: ImportError: no torch"
    )
    assert _reason(-signal.SIGKILL, bar) == "was killed (SIGKILL), probably for lack of memory"
    assert (
        _reason(-signal.SIGABRT, "terminate called: std::bad_alloc")
        == "ran out of memory: terminate called: std::bad_alloc"
    )
    assert _reason(3, "") == "cannot run this model: exit code 3"


def test_it_has_a_time_limit(tmp_path: Path) -> None:
    process = start(MODULE, {"do": "waits", "file": str(tmp_path / "id")}, tmp_path)
    with pytest.raises(VerificationError, match="did not answer within 0 minutes and was ended"):
        finished(process, b"", "a library", 1.0)
    assert process.returncode == -signal.SIGKILL


PARENT = """
import sys, time
from pathlib import Path
from tf_exporter.model.reference.processes import start
place = Path(sys.argv[1])
start("tests.support.reference_process", {"do": "waits", "file": str(place / "id")}, place)
time.sleep(60)
"""


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    """The process ends even if its parent is killed."""
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)]) as parent:
        child = int(
            _soon(lambda: (tmp_path / "id").read_text() if (tmp_path / "id").exists() else "")
        )
        parent.kill()
    assert _soon(lambda: "" if _lives(child) else "gone") == "gone"


def _lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _soon(look: Any) -> str:
    until = time.monotonic() + 30
    while not (value := look()) and time.monotonic() < until:
        time.sleep(0.05)
    return str(value)
