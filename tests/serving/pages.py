"""The code in docs/serving.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "serving.md"


@dataclass(frozen=True)
class Block:
    """A piece of code, and where it stands."""

    section: str
    language: str
    code: str
    runs: bool
    """False where the text right before it says "not run"."""

    @property
    def name(self) -> str:
        """For the test's name."""
        return f"{self.section}: {self.code.strip().splitlines()[0][:50]}"


def blocks() -> list[Block]:
    """All of the page, in order."""
    found = []
    section, before = "", ""
    for part in re.split(r"^(```\w+\n.*?^```$)", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE):
        if part.startswith("```"):
            language, _, code = part[3:-3].partition("\n")
            last = before.strip().rpartition("\n\n")[2]
            found.append(Block(section, language, code, not re.search(r"not run\W{0,2}$", last, re.IGNORECASE)))
            continue
        before = part
        headings = re.findall(r"^## (.*)$", part, re.MULTILINE)
        section = headings[-1] if headings else section
    return found
