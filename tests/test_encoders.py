"""Encoders of rarer build: forms of their checkpoints, their own arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch

import tf_exporter.reference
from fixtures import models
from fixtures.models import rewrite
from tests.helpers import LEAKING, InProcessReference, build, difference, reference
from tests.test_parity import ATOL, TEXTS
from tf_exporter import convert
from tf_exporter.architectures.registry import ARCHITECTURES
from tf_exporter.encoders.deberta_v2 import distance_rows, sheared
from tf_exporter.errors import UnsupportedError
from tf_exporter.reference import Job

pytestmark = pytest.mark.long

RARE = ("deberta-v2", "convbert", "mobilebert")


@pytest.mark.parametrize(
    ("buckets", "farthest"),
    [(256, 512), (8, 24), (9, 24), (32, 18), (2, 3), (3, 24), (5, 17), (16, 65), (18, 17), (32, 129), (128, 513), (512, 514),
     (-1, 512), (0, 10)],
)  # fmt: skip
def test_distance_rows(buckets: int, farthest: int) -> None:
    """Also where one more bit of precision would end a bucket elsewhere, as at (18, 17) and (128, 513)."""
    from transformers.models.deberta_v2.modeling_deberta_v2 import build_relative_position

    span = buckets if buckets > 0 else farthest
    places = torch.zeros(4 * farthest, 1)
    relative = build_relative_position(places, places, buckets, farthest)[0]
    expected = torch.clamp(relative + span, 0, 2 * span - 1).numpy()
    rows = distance_rows(buckets, farthest)
    distance = np.arange(4 * farthest)[:, None] - np.arange(4 * farthest)
    last = len(rows) // 2
    assert np.array_equal(rows[np.clip(distance, -last, last) + last], expected)
    assert last <= 1 or rows[1] > rows[0] or rows[-2] < rows[-1]


@pytest.mark.parametrize("length", [0, 1, 2, 7])
def test_sheared(length: int) -> None:
    x = np.arange(3 * length * 2 * length, dtype=np.float32).reshape(3, length, 2 * length)
    expected = np.array([[[rows[q, k - q + length - 1] for k in range(length)] for q in range(length)] for rows in x])
    assert np.array_equal(sheared(tf.constant(x)).numpy(), expected.reshape(3, length, length))


def test_distances_of_long_texts(tmp_path: Path) -> None:
    """Without positions in its input, DeBERTa's texts may be longer than its table of distances."""
    folder = models.write_model(tmp_path / "model", "deberta-v2", max_seq_length=150, position_biased_input=False)
    texts = [" ".join(models.texts(seed, 30)) for seed in range(3)]
    assert difference(folder, [*texts, *TEXTS[:20]]) <= ATOL


def test_padding_on_the_left(tmp_path: Path) -> None:
    """Distances and the convolution do not count padding; positions do."""
    folder = models.write_model(tmp_path / "model", "deberta-v2", position_biased_input=False)
    rewrite(folder / "tokenizer_config.json", padding_side="left")
    assert difference(folder, TEXTS) <= ATOL
    for model_type in RARE:
        folder = models.write_model(tmp_path / model_type, model_type)
        rewrite(folder / "tokenizer_config.json", padding_side="left")
        with pytest.raises(UnsupportedError, match="padding_side"):
            build(folder)


def test_pos_att_type_as_a_string(tmp_path: Path) -> None:
    folder = models.write_model(tmp_path / "model", "deberta-v2")
    for kinds in ("C2P | p2c", "p2c|c2p"):
        rewrite(folder / "config.json", pos_att_type=kinds)
        assert difference(folder, TEXTS) <= ATOL


HEADS = ["MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering"]


@pytest.mark.parametrize(
    ("model_type", "head", "changes"),
    [*((name, head, {}) for name in RARE for head in HEADS), ("deberta-v2", "MaskedLM", {"legacy": False})],
    ids=str,
)
def test_checkpoint_of_any_head(tmp_path: Path, model_type: str, head: str, changes: dict[str, Any]) -> None:
    """As transformers saves it: a prefix before the encoder's names, and tensors of the head."""
    import transformers

    folder = models.write_model(tmp_path / "model", model_type, **changes)
    getattr(transformers, f"AutoModelFor{head}").from_pretrained(folder).save_pretrained(folder)
    assert difference(folder, TEXTS) <= ATOL


def test_padding_leaks_in_the_reference(tmp_path: Path) -> None:
    """Else there would be no reason to compare it one text at a time."""
    for model_type in LEAKING:
        model = reference(models.write_model(tmp_path / model_type, model_type))
        alone, together = (model.encode(TEXTS[:8], batch_size=size) for size in (1, 8))
        assert np.abs(alone - together).max() > 1e-3
    assert {name for name, architecture in ARCHITECTURES.items() if architecture.pads_leak} == {*LEAKING}


def test_conversion_asks_for_each_text_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where padding leaks, while the graph is asked for batches."""
    asked: list[int] = []

    class Recorded(InProcessReference):
        def submit(self, jobs: list[Job], max_seq_length: int | None) -> None:
            asked.extend(job.batch_size for job in jobs)
            super().submit(jobs, max_seq_length)

    monkeypatch.setattr(tf_exporter.reference, "Reference", Recorded)
    folder = models.write_model(tmp_path / "model", LEAKING[1])
    assert convert(folder, tmp_path / "out").verification["max_abs_difference"] <= ATOL
    assert {*asked} == {1}
