"""Python code in a fresh process."""

from __future__ import annotations

import subprocess
import sys


def modules_imported_by(code: str) -> set[str]:
    """The names of all modules in a fresh process after it has run `code`."""
    program = f"{code}\nimport sys\nprint(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())
