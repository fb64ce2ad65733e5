"""The comparison of outputs with the reference's answers."""

from __future__ import annotations

import numpy as np
import pytest

from tf_exporter import VerificationError
from tf_exporter.graph.description import Description
from tf_exporter.names import DEFAULT, OUTPUT, SENTENCE_TRANSFORMER
from tf_exporter.verification.outputs import check_outputs
from tf_exporter.verification.plans import Plan
from tf_exporter.verification.reference import Answer, Job
from tf_exporter.verification.tolerances import of_embeddings

TEXTS = ["a", "b", "c", "d"]
VALUES = np.eye(4, dtype=np.float32)


class _Output:
    def __init__(self, values: np.ndarray):
        self._values = values

    def numpy(self) -> np.ndarray:
        return self._values


def check(failed: dict[int, str]) -> int:
    """The number of rows that are compared where the reference fails for some of the texts."""

    def signature(input_sequence: object) -> dict[str, _Output]:
        rows = [TEXTS.index(text.decode()) for text in np.array(input_sequence)]
        return {OUTPUT: _Output(VALUES[rows])}

    model = Description(
        kind=SENTENCE_TRANSFORMER,
        output=OUTPUT,
        dim=4,
        signatures={},
        leaking=frozenset(),
        tokenizers={},
        batch_size=None,
        poolings=(),
        micro_batch_tokens=512,
        tokens_around=2,
    )
    kept = [row for row in range(4) if row not in failed]
    plan = Plan([(DEFAULT, Job(TEXTS, "", 32))], None, False)
    answers = [Answer({"values": VALUES[kept]}, failed)]
    texts = [text.encode() for text in TEXTS]
    tolerance = of_embeddings("float32", 1e-5)
    return check_outputs({DEFAULT: signature}, model, plan, answers, texts, tolerance, None).rows


def test_some_texts_may_fail_in_the_reference() -> None:
    assert check({}) == 4
    assert check({1: "no tokens", 3: "no tokens"}) == 2


def test_most_texts_may_not() -> None:
    with pytest.raises(VerificationError, match="cannot encode 3 of 4 texts: no tokens"):
        check({1: "no tokens", 2: "no tokens", 3: "no tokens"})
