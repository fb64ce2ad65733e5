"""The code blocks in the pages of docs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "serving.md"


@dataclass(frozen=True)
class Block:
    """A code block, and its place in a page."""

    section: str
    language: str
    code: str
    runs: bool
    """False if the text right before the block ends in "not run"."""

    @property
    def name(self) -> str:
        """The name used in the test's id."""
        return f"{self.section}: {self.code.strip().splitlines()[0][:50]}"


def run(block: Block, place: Path, code: str, check: str = "") -> str:
    """Runs a block in a folder and returns its output; `check` runs after a Python block."""
    programs = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYSPARK_PYTHON": sys.executable,
    }
    environment |= {"SPARK_LOCAL_IP": "127.0.0.1", "HF_HUB_OFFLINE": "1"}
    shell = ["bash", "-euo", "pipefail", "-c", code]
    command = [sys.executable, "-c", code + check] if block.language == "python" else shell
    result = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    return result.stdout


def blocks(page: Path = PAGE) -> list[Block]:
    """All code blocks of a page, in order."""
    result = []
    section, before = "", ""
    for part in re.split(
        r"^(```\w+\n.*?^```$)", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    ):
        if part.startswith("```"):
            language, _, code = part[3:-3].partition("\n")
            last = before.strip().rpartition("\n\n")[2]
            result.append(
                Block(
                    section, language, code, not re.search(r"not run\W{0,2}$", last, re.IGNORECASE)
                )
            )
            continue
        before = part
        headings = re.findall(r"^## (.*)$", part, re.MULTILINE)
        section = headings[-1] if headings else section
    return result
