"""Temporary files: removed at the end, or by the next conversion if a process was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tf_exporter import UsageError
from tf_exporter.model.reference.scratch import scratch_folder, temporary_files

KILLED = """
import os, signal
from tf_exporter.model.reference.scratch import temporary_files
import tempfile
with temporary_files():
    open(tempfile.mkstemp()[1], "w").write("left")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_gone_at_the_end(place: Path) -> None:
    with scratch_folder() as folder:
        (folder / "file").write_text("x")
        assert folder.parent == place
    assert list(place.iterdir()) == []


def test_all_temporary_files_of_a_process(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "before")
    with temporary_files():
        folder = Path(tempfile.gettempdir())
        assert folder.parent == place
        assert os.environ["TMPDIR"] == str(folder)
        assert Path(tempfile.mkdtemp()).parent == folder
    assert (tempfile.tempdir, os.environ["TMPDIR"]) == (str(place), "before")
    assert list(place.iterdir()) == []


def test_what_the_killed_left_goes_and_what_others_use_stays(place: Path) -> None:
    somebody = place / "tf-exporter-notes"
    somebody.mkdir()
    with scratch_folder() as in_use:
        subprocess.run(
            [sys.executable, "-c", KILLED], env={**os.environ, "TMPDIR": str(place)}, check=False
        )
        [left] = [folder for folder in place.iterdir() if folder not in (in_use, somebody)]
        assert len(list(left.iterdir())) == 2
        with scratch_folder():
            assert not left.exists()
            assert in_use.exists()
    assert list(place.iterdir()) == [somebody]


def test_no_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "none"))
    with pytest.raises(UsageError, match="temporary files"), scratch_folder():
        pass
