"""Runs the slow tests of what changed since the last tag, or of everything.

`python -m tools.slow_tests --minutes 10`.

The order of the files depends on the commit. So a run that its time limit ends has other files
than the run before, and a few runs have them all.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
TESTS = PROJECT / "tests"
_USERS = {
    "layers": ("heads", "architectures", "modules"),
    "heads": ("modules",),
    "architectures": ("layers", "heads", "modules"),
    "tokenizers": ("modules",),
    "verification": ("exports",),
    "graph": ("modules", "exports"),
}
"""Folder of the package → the folders of tests that try it too, besides its own."""
_INTERRUPTED = 2
"""What pytest returns after SIGINT."""


def git(*arguments: str) -> str:
    """What git prints; nothing where it fails, as without a tag."""
    command = ["git", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True).stdout.strip()


def changed_folders() -> set[str] | None:
    """The folders of tests for what changed since the last tag; None: all."""
    tag = git("describe", "--tags", "--abbrev=0")
    if not tag:
        return None
    folders: set[str] = set()
    for path in git("diff", "--name-only", tag, "HEAD").splitlines():
        parts = Path(path).parts
        if parts[0] == "fixtures":
            return None
        if parts[0] not in ("tf_exporter", "tests") or not path.endswith(".py"):
            continue
        if len(parts) < 3 or not (TESTS / parts[1]).is_dir():
            return None
        folders |= {parts[1], *_USERS.get(parts[1], ())}
    return folders


def test_files(folders: set[str] | None) -> list[str]:
    """The files with slow tests, in an order that depends on the commit."""
    files = [path for path in TESTS.rglob("test_*.py") if "engines" not in path.parts]
    if folders is not None:
        files = [path for path in files if path.parent == TESTS or path.parent.name in folders]
    files = sorted(path for path in files if "mark.slow" in path.read_text(encoding="utf-8"))
    random.Random(git("rev-parse", "HEAD")).shuffle(files)
    return [str(path.relative_to(PROJECT)) for path in files]


def run(command: list[str], seconds: float | None) -> tuple[int, bool]:
    """The exit code of a command, and whether the time limit ended it, by SIGINT."""
    with subprocess.Popen(command, cwd=PROJECT) as process:
        try:
            return process.wait(seconds), False
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            return process.wait(), True


def main() -> int:
    """Exit code 1 where a test failed; 0 where all passed that the time allowed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, help="time limit (default: none)")
    minutes = parser.parse_args().minutes
    files = test_files(changed_folders())
    if not files:
        print("nothing with slow tests changed")
        return 0
    pytest = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-n",
        "2",
        "--dist",
        "load",
        "-m",
        "slow and not engines",
    ]
    code, ended = run([*pytest, *files], None if minutes is None else minutes * 60)
    # pytest also returns this code after the first failure, as `-x` interrupts its workers.
    if code == _INTERRUPTED and ended:
        print(f"ended after {minutes:g} minutes, with no failure")
        return 0
    return code


if __name__ == "__main__":
    sys.exit(main())
