"""The pages: their tables agree with the code, and their commands with the Makefile."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fixtures.real import REAL_TOKENIZERS
from fixtures.trained import RECIPES
from tf_exporter.architectures.registry import VERIFIED
from tools import tables
from tools.tables import PAGES, PROJECT, TABLES, TRAINED, filled, result

README = PROJECT / "README.md"
CONTRIBUTING = PROJECT / "CONTRIBUTING.md"


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.md")))
def test_tables_are_up_to_date(page: str) -> None:
    text = (PAGES / page).read_text(encoding="utf-8")
    assert filled(text) == text, "run make tables"


def test_a_version_without_figures_has_a_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = {"2.12": {"error": "no |wheel"}, "2.21": {"tensorflow": "2.21.1", "minilm": 2e-7}}
    (tmp_path / "older_tensorflow.json").write_text(json.dumps(rows))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert tables.older().splitlines() == [
        "| TensorFlow | 2.12 | 2.21.1 |",
        "|---|---|---|",
        "| minilm | no \\|wheel | 2.0e-07 |",
    ]


def test_every_table_is_in_a_page() -> None:
    texts = "".join(path.read_text(encoding="utf-8") for path in PAGES.glob("*.md"))
    assert sorted(re.findall(r"<!-- ([\w-]+): made by", texts)) == sorted(TABLES)


def test_the_readme_is_short_and_written_by_hand() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert "made by" not in text


def test_make_targets_exist() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    pages = [README, CONTRIBUTING, *PAGES.glob("*.md")]
    text = "".join(path.read_text(encoding="utf-8") for path in pages)
    for target in set(re.findall(r"`make ([\w-]+)`", text)):
        assert f"\n{target}:" in makefile, target


def test_links_lead_somewhere() -> None:
    for page in (README, CONTRIBUTING, *PAGES.glob("*.md")):
        for link in re.findall(r"\]\(([\w./-]+\.(?:md|png))\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_smallest_architecture_is_as_shown() -> None:
    text = CONTRIBUTING.read_text(encoding="utf-8")
    shown = re.findall(r"`([\w/]+\.py)`[^`]*:\n\n```python\n(.*?)```", text, re.DOTALL)
    assert len(shown) == 4
    for place, code in shown:
        assert code in (PROJECT / place).read_text(encoding="utf-8"), place


def test_files_are_short() -> None:
    for folder in ("tf_exporter", "tests", "tools", "fixtures", "benchmarks", "examples"):
        for path in (PROJECT / folder).rglob("*.py"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path


def test_few_files_at_the_top() -> None:
    assert len([*(PROJECT / "tf_exporter").glob("*.py")]) <= 8


def test_every_architecture_was_swept() -> None:
    assert result("sweep_models").keys() == set(VERIFIED), "run make sweep-models"


def test_sweep_has_no_differences() -> None:
    """Only the sweep writes its results: all tokenizers, and no difference."""
    rows = result("sweep")
    names = {"all-MiniLM-L6-v2", *REAL_TOKENIZERS, *(f"{TRAINED}{name}" for name in RECIPES)}
    assert names <= rows.keys(), "run make sweep"
    wrong = {
        name: row for name, row in rows.items() if row["equal"] < row["texts"] or not row["texts"]
    }
    assert wrong == {}
