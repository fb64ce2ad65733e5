"""The README's generated table is what the code supports, and its commands are the Makefile's."""

from __future__ import annotations

import re
from pathlib import Path

from docs.support import README, updated


def test_support_table_is_up_to_date() -> None:
    readme = README.read_text(encoding="utf-8")
    assert updated(readme) == readme, "run make readme"


def test_make_targets_exist() -> None:
    makefile = (README.parent / "Makefile").read_text()
    for target in set(re.findall(r"`make (\w+)`", README.read_text(encoding="utf-8"))):
        assert f"\n{target}:" in makefile, target


def test_files_are_short() -> None:
    for path in Path(README.parent).glob("[tfbde]*/**/*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path
