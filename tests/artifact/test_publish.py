"""An artifact is complete or absent: unwritable outputs, and interruptions at any point."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from fixtures import models
from tf_exporter import UsageError, VerificationError, convert
from tf_exporter.artifact.publish import MANIFEST, Publication

COMMAND = [sys.executable, "-m", "tf_exporter.cli"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.write_model(tmp_path_factory.mktemp("publish") / "model")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder of the output, with nothing else in it."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def finished(folder: Path) -> Path:
    """A folder that looks like an earlier conversion."""
    (folder / MANIFEST).parent.mkdir(parents=True)
    (folder / MANIFEST).write_text("{}")
    return folder


def test_output_exists(model: Path, place: Path) -> None:
    (place / "out").mkdir()
    (place / "out/precious").write_text("kept")
    for force in (False, True):
        with pytest.raises(UsageError, match="out: "):
            convert(model, place / "out", verify="off", force=force)
    (place / "file").write_text("kept")
    with pytest.raises(UsageError):
        convert(model, place / "file", verify="off", force=True)
    assert sorted(path.name for path in place.iterdir()) == ["file", "out"]
    assert (place / "out/precious").read_text() == "kept"


def test_force_replaces_an_earlier_conversion(model: Path, place: Path) -> None:
    finished(place / "out")
    with pytest.raises(UsageError, match="--force"):
        convert(model, place / "out", verify="off")
    convert(model, place / "out", verify="off", force=True)
    assert (place / "out/saved_model.pb").is_file()
    assert [path.name for path in place.iterdir()] == ["out"]


def test_failed_conversion_keeps_the_earlier_one(model: Path, place: Path) -> None:
    finished(place / "out")
    with pytest.raises(VerificationError, match="differs from the reference") as raised:
        convert(model, place / "out", force=True, atol=1e-30)
    assert raised.value.exit_code == 4
    assert [path.name for path in place.iterdir()] == ["out"]
    assert (place / "out" / MANIFEST).read_text() == "{}"


def test_parents_are_made(model: Path, place: Path) -> None:
    conversion = convert(model, place / "a/b/out", verify="off")
    assert conversion.output_dir == place / "a/b/out"
    assert [path.name for path in (place / "a/b").iterdir()] == ["out"]


def test_parents_of_a_failure_go(model: Path, place: Path) -> None:
    with pytest.raises(UsageError):
        convert(model, place / "a/b/out", verify="off", prompt_name="none")
    assert list(place.iterdir()) == []


def test_parent_is_a_file(model: Path, place: Path) -> None:
    (place / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        convert(model, place / "file/out", verify="off")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB; needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", os.fsencode(folder), b"tmpfs", 0, b"size=300k") != 0:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    libc.umount2(os.fsencode(folder), 2)


def test_full_disk(model: Path, small_disk: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        convert(model, small_disk / "out", verify="off")
    assert list(small_disk.iterdir()) == []


def test_read_only_disk(model: Path, small_disk: Path) -> None:
    remount_read_only = 0x20 | 0x1
    assert (
        ctypes.CDLL(None).mount(b"none", os.fsencode(small_disk), b"tmpfs", remount_read_only, None)
        == 0
    )
    with pytest.raises(UsageError, match="cannot be written"):
        convert(model, small_disk / "out", verify="off")


@pytest.mark.slow
def test_file_size_limit(model: Path, place: Path) -> None:
    """Writing fails half-way, as on a full disk, but without root."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    command = [*COMMAND, str(model), str(place / "out"), "--verify", "off", "--quiet"]
    result = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True)
    assert result.returncode == 2, result.stderr
    assert "cannot be written" in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "stage"),
    [
        (signal.SIGINT, "reading"),
        (signal.SIGINT, "building"),
        (signal.SIGKILL, "saving"),
        pytest.param(signal.SIGINT, "saving", marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, "verifying", marks=pytest.mark.slow),
    ],
)
def test_interrupted(model: Path, place: Path, number: signal.Signals, stage: str) -> None:
    finished(place / "out")
    command = [*COMMAND, str(model), str(place / "out"), "--force"]
    # Tests in the background of a shell ignore SIGINT, and so would the command.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, preexec_fn=heard
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(stage):
                break
        time.sleep(0.2)
        process.send_signal(number)
        rest = process.stderr.read()
        code = process.wait()
    if number == signal.SIGINT:
        assert code == 130
        assert rest.splitlines()[-1:] == ["convert-hf-model: interrupted"]
        assert "Traceback" not in rest
    until = time.monotonic() + 10
    while [path.name for path in place.iterdir()] != ["out"] and time.monotonic() < until:
        time.sleep(0.05)
    assert [path.name for path in place.iterdir()] == ["out"]
    assert (place / "out" / MANIFEST).read_text() == "{}"


KILLED = """
import os, signal, sys
from tf_exporter.artifact.publish import Publication
moves = int(sys.argv[2])
rename = os.rename
def counted(source, target):
    global moves
    if moves == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    moves -= 1
    rename(source, target)
os.rename = counted
with Publication(sys.argv[1], force=True) as publication:
    (publication.partial / "saved_model.pb").write_text("new")
    publication.publish()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moves", [0, 1, 2])
def test_killed_between_the_renames(place: Path, moves: int) -> None:
    """The old artifact stays until the new one is in place, and the hidden folders go."""
    finished(place / "out")
    subprocess.run([sys.executable, "-c", KILLED, place / "out", str(moves)], check=False)
    until = time.monotonic() + 10
    while [path.name for path in place.iterdir()] != ["out"] and time.monotonic() < until:
        time.sleep(0.05)
    assert [path.name for path in place.iterdir()] == ["out"]
    assert (place / "out/saved_model.pb").is_file() == (moves == 2)


def test_somebody_else_was_first(place: Path) -> None:
    with Publication(place / "out", force=False) as publication:
        (place / "out").mkdir()
        with pytest.raises(UsageError, match="already there"):
            publication.publish()
    assert [path.name for path in place.iterdir()] == ["out"]
