"""Less common encoders: the forms of their checkpoints and their own arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch

from fixtures import models
from fixtures.models import rewrite
from tests.support.helpers import LEAKING, InProcessReference, build, difference, reference
from tests.test_parity import ATOL, TEXTS
from tf_exporter import convert
from tf_exporter.architectures.deberta_v2.encoder import distance_rows, sheared
from tf_exporter.architectures.registry import ARCHITECTURES
from tf_exporter.errors import UnsupportedError
from tf_exporter.verification.reference import Job, Loading

pytestmark = pytest.mark.slow

RARE = ("deberta", "deberta-v2", "convbert", "mobilebert")


@pytest.mark.parametrize(
    ("buckets", "farthest"),
    [(256, 512), (8, 24), (9, 24), (32, 18), (2, 3), (3, 24), (5, 17), (16, 65), (18, 17),
     (32, 129), (128, 513), (512, 514), (-1, 512), (0, 10)],
)  # fmt: skip
def test_distance_rows(buckets: int, farthest: int) -> None:
    """At (18, 17) and (128, 513), one more bit of precision would move the edge of a bucket."""
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
    expected = np.array(
        [
            [[rows[q, k - q + length - 1] for k in range(length)] for q in range(length)]
            for rows in x
        ]
    )
    assert np.array_equal(sheared(tf.constant(x)).numpy(), expected.reshape(3, length, length))


def test_distances_of_long_texts(tmp_path: Path) -> None:
    """Without positions in its input, DeBERTa takes texts longer than its distance table."""
    folder = models.write_model(
        tmp_path / "model", "deberta-v2", max_seq_length=150, position_biased_input=False
    )
    texts = [" ".join(models.texts(seed, 30)) for seed in range(3)]
    assert difference(folder, [*texts, *TEXTS[:20]]) <= ATOL


def test_padding_on_the_left(tmp_path: Path) -> None:
    """Padding counts for positions, but not for distances and the convolution."""
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
    [
        *((name, head, {}) for name in RARE for head in HEADS),
        ("deberta-v2", "MaskedLM", {"legacy": False}),
    ],
    ids=str,
)
def test_checkpoint_of_any_head(
    tmp_path: Path, model_type: str, head: str, changes: dict[str, Any]
) -> None:
    """A checkpoint as transformers saves it: a prefix before the names, and the head's tensors."""
    import transformers

    folder = models.write_model(tmp_path / "model", model_type, **changes)
    getattr(transformers, f"AutoModelFor{head}").from_pretrained(folder).save_pretrained(folder)
    assert difference(folder, TEXTS) <= ATOL


def test_padding_leaks_in_the_reference(tmp_path: Path) -> None:
    """The reason why these models are compared one text at a time."""
    for model_type in LEAKING:
        model = reference(models.write_model(tmp_path / model_type, model_type))
        alone, together = (model.encode(TEXTS[:8], batch_size=size) for size in (1, 8))
        assert np.abs(alone - together).max() > 1e-3
    assert {name for name, architecture in ARCHITECTURES.items() if architecture.pads_leak} == {
        *LEAKING
    }


def test_conversion_sends_single_texts_to_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference gets single texts where padding leaks; the graph gets batches."""
    batch_sizes: list[int] = []

    class Recorded(InProcessReference):
        def submit(self, jobs: list[Job], loading: Loading) -> None:
            batch_sizes.extend(job.batch_size for job in jobs)
            super().submit(jobs, loading)

    monkeypatch.setattr("tf_exporter.exports.run.Reference", Recorded)
    folder = models.write_model(tmp_path / "model", LEAKING[1])
    assert convert(folder, tmp_path / "out").verification["max_abs_difference"] <= ATOL
    assert {*batch_sizes} == {1}
