"""The programs in tools/ that decide whether tests have failed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools import slow_tests


def test_a_failure_is_not_taken_for_the_end_of_the_time(tmp_path: Path) -> None:
    """With `-x` and workers, pytest ends with the same code as after SIGINT."""
    (tmp_path / "test_it.py").write_text("def test_it() -> None:\n    assert False\n")
    command = [sys.executable, "-m", "pytest", "-x", "-n", "2", str(tmp_path), "-c", "/dev/null"]
    assert slow_tests.run(command, 60) == (slow_tests._INTERRUPTED, False)


def test_the_time_limit_ends_a_run(tmp_path: Path) -> None:
    code = "import os, signal, time; signal.signal(2, lambda *_: os._exit(2)); time.sleep(60)"
    # Isolated and without packages, Python is sure to have its handler after these seconds.
    assert slow_tests.run([sys.executable, "-I", "-S", "-c", code], 3) == (2, True)


def test_changed_fixtures_concern_all_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        return "v1" if arguments[0] == "describe" else changed

    monkeypatch.setattr(slow_tests, "git", git)
    changed = "tf_exporter/heads/base.py\ndocs/models.md"
    assert slow_tests.changed_folders() == {"heads", "modules"}
    changed = "fixtures/models.py"
    assert slow_tests.changed_folders() is None
