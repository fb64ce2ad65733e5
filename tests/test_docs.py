"""The README's generated table is what the code supports, and its commands are the Makefile's."""

from __future__ import annotations

import json
import re
from pathlib import Path

from docs.support import MODELS_PAGE, PARITY, RATCHET, README, SERVING, TRAINED, updated, updated_models, updated_serving
from fixtures.real import REAL_TOKENIZERS
from fixtures.trained import RECIPES
from tf_exporter.encoders import ENCODERS


def test_support_table_is_up_to_date() -> None:
    readme = README.read_text(encoding="utf-8")
    assert updated(readme) == readme, "run make readme"
    serving = SERVING.read_text(encoding="utf-8")
    assert updated_serving(serving) == serving, "run make readme"
    models = MODELS_PAGE.read_text(encoding="utf-8")
    assert updated_models(models) == models, "run make readme"


def test_make_targets_exist() -> None:
    makefile = (README.parent / "Makefile").read_text()
    for target in set(re.findall(r"`make ([\w-]+)`", README.read_text(encoding="utf-8") + SERVING.read_text(encoding="utf-8"))):
        assert f"\n{target}:" in makefile, target


def test_smallest_architecture_is_as_shown() -> None:
    shown = re.findall(r"```python\n(.*?)```", (README.parent / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    places = (
        "tf_exporter/architectures/qwen2.py",
        "tf_exporter/architectures/registry.py",
        "tf_exporter/encoders/__init__.py",
        "fixtures/models.py",
    )
    assert len(shown) == len(places)
    for code, place in zip(shown, places):
        assert code in (README.parent / place).read_text(encoding="utf-8"), place


def test_files_are_short() -> None:
    for path in Path(README.parent).glob("[tfbde]*/**/*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path


def test_every_architecture_was_swept() -> None:
    assert json.loads(PARITY.read_text(encoding="utf-8")).keys() == ENCODERS.keys(), "run make sweep-models"


def test_sweep_found_everything_equal() -> None:
    """ratchet.json is written by the sweep alone; it lists every tokenizer there is, and no difference."""
    rows = json.loads(RATCHET.read_text(encoding="utf-8"))
    names = {"all-MiniLM-L6-v2", *REAL_TOKENIZERS, *(f"{TRAINED}{name}" for name in RECIPES)}
    assert names <= rows.keys(), "run make sweep"
    assert {name: found for name, found in rows.items() if found["equal"] < found["texts"] or not found["texts"]} == {}
